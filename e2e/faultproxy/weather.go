package faultproxy

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Weather lets calls go wrong at random. The same seed and the same order of
// calls give the same faults.
type Weather struct {
	Seed uint64
	// Share of calls that go wrong, 0 to 1.
	Share float64
	// Wait bounds how long slow answers, held events and silence take, and Life
	// how long a watch lives.
	Wait, Life time.Duration
}

// Judge gives the weather's judge.
func (w Weather) Judge() Judge {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(w.Seed, w.Seed))
	return func(c Call) *Fault {
		mu.Lock()
		defer mu.Unlock()
		draw, wait, life := random.Float64(), upTo(random, w.Wait), upTo(random, w.Life)
		which := random.IntN(1 << 16)
		switch {
		case draw >= w.Share && c.Verb == "watch":
			return Cut(w.Life + life) // none lives for ever
		case draw >= w.Share:
			return nil
		case c.Verb == "watch":
			return watches(wait, life)[which%4]
		}
		faults := calls(wait)
		return faults[which%len(faults)]
	}
}

func upTo(random *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(1 + random.Int64N(int64(max(most, time.Millisecond))))
}

func watches(wait, life time.Duration) [4]*Fault {
	return [4]*Fault{Expire(), Cut(life), Stale(wait), unavailable()}
}

func calls(wait time.Duration) []*Fault {
	return []*Fault{
		Refuse(http.StatusConflict, metav1.StatusReasonConflict),
		Refuse(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests),
		Refuse(http.StatusInternalServerError, metav1.StatusReasonInternalError),
		unavailable(), Late(), Lose(nil), Slow(wait), Hang(wait),
	}
}

func unavailable() *Fault {
	return Refuse(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
}
