package faultproxy

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RandomFaults makes calls fail at random. The same seed and the same order of calls give
// the same faults.
type RandomFaults struct {
	Seed uint64
	// Share of calls that fail, 0 to 1.
	Share float64
	// Wait is the longest delay of answers, events and hanging calls. Life is the longest
	// time until the fault "watch dropped" ends a watch; other watches end after one to
	// two times as long.
	Wait, Life time.Duration
}

// Func returns the function that chooses the faults. Every fault is used once before any
// is used again, in a new random order each time.
func (f RandomFaults) Func() FaultFunc {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(f.Seed, f.Seed))
	var ofCalls, ofWatches []int // indexes of the faults that are not used yet
	return func(c Call) *Fault {
		mu.Lock()
		defer mu.Unlock()
		draw, wait, life := random.Float64(), upTo(random, f.Wait), upTo(random, f.Life)
		switch {
		case draw >= f.Share && c.Verb == "watch":
			return Cut(f.Life + life).Named("") // every watch ends at some time: that does not count as a fault
		case draw >= f.Share:
			return nil
		case c.Verb == "watch":
			return next(random, watchFaults(wait, life), &ofWatches)
		}
		return next(random, callFaults(wait), &ofCalls)
	}
}

// next returns one of the faults that are not used yet.
func next(random *rand.Rand, faults []*Fault, rest *[]int) *Fault {
	if len(*rest) == 0 {
		*rest = random.Perm(len(faults))
	}
	which := (*rest)[0]
	*rest = (*rest)[1:]
	return faults[which]
}

// Names of all faults that are used.
func (f RandomFaults) Names() (names []string) {
	for _, f := range slices.Concat(callFaults(f.Wait), watchFaults(f.Wait, f.Life)) {
		names = append(names, f.Name)
	}
	return names
}

func upTo(random *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(1 + random.Int64N(int64(max(most, time.Millisecond))))
}

func watchFaults(wait, life time.Duration) []*Fault {
	return []*Fault{Expire(), Cut(life), Stale(wait), unavailable().Named("watch 503")}
}

func callFaults(wait time.Duration) []*Fault {
	return []*Fault{
		Refuse(http.StatusConflict, metav1.StatusReasonConflict),
		Refuse(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests),
		Refuse(http.StatusInternalServerError, metav1.StatusReasonInternalError),
		unavailable(), TimeOutAfterEffect(), LoseAnswer(nil), Slow(wait), Hang(wait),
	}
}

func unavailable() *Fault {
	return Refuse(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
}
