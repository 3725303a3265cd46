package apiserver

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"maintenance-controller.io/e2e/revisions"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/target"
)

var endpointSlices = discoveryv1.SchemeGroupVersion.WithResource("endpointslices")

// timeline puts the revisions of all targets, Services, EndpointSlices and Pods of
// a world into the one order in which they were written (resourceVersions of one
// API server compare, see KEP 5504) and wants, at every moment, that each page set
// that a target points at has a Service with an endpoint that is there to answer.
type timeline struct {
	mu     sync.Mutex
	events []moment
}

// moment is one write that matters. Each object that does is in one of the maps.
type moment struct {
	version uint64
	what    string // for people

	target  string   // kind and name
	pages   []string // page sets that the target points at
	service string   // name
	slice   string   // name
	serves  string   // the Service that the slice belongs to
	pods    []string // UIDs of the endpoints that take requests
	pod     string   // UID
	gone    bool
}

// wantNoHoles watches from now on, and judges when the test ends.
func (w *world) wantNoHoles() {
	w.Helper()
	t := &timeline{}
	var streams []*revisions.Stream
	record := func(gvr schemaGVR, fill func(*moment, *unstructured.Unstructured)) {
		streams = append(streams, w.everyRevision(context.Background(), gvr, func(e watch.EventType, u *unstructured.Unstructured) {
			m := moment{version: revisions.Version(u), gone: e == watch.Deleted, what: string(e) + " " + gvr.Resource + " " + u.GetName()}
			fill(&m, u)
			t.mu.Lock()
			defer t.mu.Unlock()
			t.events = append(t.events, m)
		}))
	}
	for _, k := range target.Kinds() {
		record(k.Resource, func(m *moment, u *unstructured.Unstructured) {
			if page.IsSetName(u.GetName()) {
				m.service = u.GetName()
			} else if u.GetLabels()[annotations.ManagedByLabel] != annotations.ManagedBy {
				if m.target = k.Name + "/" + u.GetName(); !m.gone {
					m.pages = setsOf(u)
				}
			}
		})
	}
	record(pods, func(m *moment, u *unstructured.Unstructured) { m.pod = string(u.GetUID()) })
	record(endpointSlices, func(m *moment, u *unstructured.Unstructured) {
		m.slice, m.serves = u.GetName(), u.GetLabels()[discoveryv1.LabelServiceName]
		m.pods = taking(u)
	})
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, s := range streams {
			assert.NoError(w, s.CatchUp(ctx))
			s.Stop()
		}
		holes := t.holes()
		for _, hole := range holes {
			w.Error(hole)
		}
		tally.Tell(w.T, "holes", int64(len(holes)))
	})
}

// taking gives the Pods that proxies send requests to.
func taking(u *unstructured.Unstructured) []string {
	slice := &discoveryv1.EndpointSlice{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, slice); err != nil {
		panic(err) // the API server's own
	}
	var uids []string
	for _, e := range slice.Endpoints {
		if serving := e.Conditions.Serving; (serving == nil || *serving) && e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
			uids = append(uids, string(e.TargetRef.UID))
		}
	}
	return uids
}

// holes replays the timeline.
func (t *timeline) holes() (wrong []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortStableFunc(t.events, func(a, b moment) int { return cmp.Compare(a.version, b.version) })
	r := replay{targets: map[string][]string{}, services: map[string]bool{}, alive: map[string]bool{}, parts: map[string]moment{}, open: map[string]bool{}}
	for _, m := range t.events {
		for _, hole := range r.step(m) {
			wrong = append(wrong, fmt.Sprintf("at %d (%s) %s", m.version, m.what, hole))
		}
	}
	return wrong
}

// replay is the state at one moment.
type replay struct {
	targets  map[string][]string // and the sets that they point at
	services map[string]bool
	alive    map[string]bool // Pods
	parts    map[string]moment
	open     map[string]bool // sets that are pointed at and do not serve: told already
}

func (r *replay) step(m moment) (holes []string) {
	var touched []string // sets that may have changed
	switch {
	case m.target != "":
		r.targets[m.target] = m.pages
		touched = m.pages
	case m.service != "":
		r.services[m.service] = !m.gone
		touched = []string{m.service}
	case m.pod != "":
		r.alive[m.pod] = !m.gone
		for _, part := range r.parts {
			if slices.Contains(part.pods, m.pod) {
				touched = append(touched, part.serves)
			}
		}
	case m.slice != "":
		if r.parts[m.slice] = m; m.gone {
			delete(r.parts, m.slice)
		}
		touched = []string{m.serves}
	}
	for _, set := range touched {
		user := r.user(set)
		if user == "" || r.serves(set) {
			delete(r.open, set)
			continue
		}
		if !r.open[set] {
			holes = append(holes, user+" points at "+set+", which does not serve")
		}
		r.open[set] = true
	}
	return holes
}

func (r *replay) user(set string) string {
	for name, pages := range r.targets {
		if slices.Contains(pages, set) {
			return name
		}
	}
	return ""
}

func (r *replay) serves(set string) bool {
	for _, part := range r.parts {
		if part.serves == set && slices.ContainsFunc(part.pods, func(uid string) bool { return r.alive[uid] }) {
			return r.services[set]
		}
	}
	return false
}

// TestTheTimelineFindsHoles: what is judged by it can fail.
func TestTheTimelineFindsHoles(t *testing.T) {
	t.Parallel()
	up := []moment{
		{version: 1, service: "set"}, {version: 2, pod: "a"}, {version: 4, pod: "b"},
		{version: 5, slice: "set-1", serves: "set", pods: []string{"a", "b"}},
	}
	swap := moment{version: 10, target: "Ingress/x", pages: []string{"set"}}
	for name, test := range map[string]struct {
		then []moment
		want int
	}{
		"it serves":                           {[]moment{swap}, 0},
		"swapped before it serves":            {[]moment{{version: 3, target: "Ingress/x", pages: []string{"set"}}}, 1},
		"one of two Pods goes":                {[]moment{swap, {version: 11, pod: "a", gone: true}}, 0},
		"the last Pod goes, then its address": {[]moment{swap, {version: 11, pod: "a", gone: true}, {version: 12, pod: "b", gone: true}, {version: 13, slice: "set-1", serves: "set"}}, 1},
		"the Service goes":                    {[]moment{swap, {version: 11, service: "set", gone: true}}, 1},
		"the addresses go":                    {[]moment{swap, {version: 11, slice: "set-1", serves: "set", gone: true}}, 1},
		"it goes when nobody points at it":    {[]moment{swap, {version: 11, target: "Ingress/x"}, {version: 12, service: "set", gone: true}}, 0},
		"it goes after its user was deleted":  {[]moment{swap, {version: 11, target: "Ingress/x", gone: true}, {version: 12, service: "set", gone: true}}, 0},
		"twice":                               {[]moment{swap, {version: 11, service: "set", gone: true}, {version: 12, service: "set"}, {version: 13, service: "set", gone: true}}, 2},
		"seen in another order than written":  {[]moment{{version: 12, service: "set", gone: true}, swap, {version: 11, target: "Ingress/x"}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			line := &timeline{events: slices.Concat(up, test.then)}
			assert.Len(t, line.holes(), test.want)
		})
	}
}
