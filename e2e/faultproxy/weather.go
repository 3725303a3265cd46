package faultproxy

import (
	"math/rand/v2"
	"net/http"
	"slices"
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

// Judge gives the weather's judge. Of the faults of calls, and of those of watches,
// each comes before one comes again, in another order each time.
func (w Weather) Judge() Judge {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(w.Seed, w.Seed))
	var ofCalls, ofWatches []int // that are still to come
	return func(c Call) *Fault {
		mu.Lock()
		defer mu.Unlock()
		draw, wait, life := random.Float64(), upTo(random, w.Wait), upTo(random, w.Life)
		switch {
		case draw >= w.Share && c.Verb == "watch":
			return Cut(w.Life + life).Named("") // none lives for ever: that is no fault
		case draw >= w.Share:
			return nil
		case c.Verb == "watch":
			return next(random, watches(wait, life), &ofWatches)
		}
		return next(random, calls(wait), &ofCalls)
	}
}

// next takes one of the faults that are still to come.
func next(random *rand.Rand, faults []*Fault, rest *[]int) *Fault {
	if len(*rest) == 0 {
		*rest = random.Perm(len(faults))
	}
	which := (*rest)[0]
	*rest = (*rest)[1:]
	return faults[which]
}

// Names are those of all faults that the weather has.
func (w Weather) Names() (names []string) {
	for _, f := range slices.Concat(calls(w.Wait), watches(w.Wait, w.Life)) {
		names = append(names, f.Name)
	}
	return names
}

func upTo(random *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(1 + random.Int64N(int64(max(most, time.Millisecond))))
}

func watches(wait, life time.Duration) []*Fault {
	return []*Fault{Expire(), Cut(life), Stale(wait), unavailable().Named("watch 503")}
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
