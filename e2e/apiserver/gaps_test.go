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

// pageTimeline puts the revisions of all targets, Services, EndpointSlices and Pods of a
// namespace into the order in which they were written (resourceVersions of one API server
// can be compared, see KEP 5504). At every moment, each page set that a target leads to
// must have a Service with an endpoint whose Pod exists.
type pageTimeline struct {
	mu     sync.Mutex
	events []timelineEvent
}

// timelineEvent is a write that matters, of a target, a Service, an EndpointSlice or a Pod.
type timelineEvent struct {
	version uint64
	what    string // for messages

	target  string   // kind and name
	pages   []string // page sets that the target leads to
	service string   // name
	slice   string   // name
	serves  string   // the Service that the slice belongs to
	pods    []string // UIDs of the endpoints that get requests
	pod     string   // UID
	gone    bool
}

// requireNoGaps watches from now on, and checks when the test ends.
func (env *testEnv) requireNoGaps() {
	env.Helper()
	t := &pageTimeline{}
	var streams []*revisions.Stream
	record := func(gvr schemaGVR, fill func(*timelineEvent, *unstructured.Unstructured)) {
		streams = append(streams, env.everyRevision(context.Background(), gvr, func(e watch.EventType, u *unstructured.Unstructured) {
			m := timelineEvent{version: revisions.Version(u), gone: e == watch.Deleted, what: string(e) + " " + gvr.Resource + " " + u.GetName()}
			fill(&m, u)
			t.mu.Lock()
			defer t.mu.Unlock()
			t.events = append(t.events, m)
		}))
	}
	for _, k := range target.Kinds() {
		record(k.Resource, func(m *timelineEvent, u *unstructured.Unstructured) {
			if page.IsSetName(u.GetName()) {
				m.service = u.GetName()
			} else if u.GetLabels()[annotations.ManagedByLabel] != annotations.ManagedBy {
				if m.target = k.Name + "/" + u.GetName(); !m.gone {
					m.pages = pageSetsOf(u)
				}
			}
		})
	}
	record(pods, func(m *timelineEvent, u *unstructured.Unstructured) { m.pod = string(u.GetUID()) })
	record(endpointSlices, func(m *timelineEvent, u *unstructured.Unstructured) {
		m.slice, m.serves = u.GetName(), u.GetLabels()[discoveryv1.LabelServiceName]
		m.pods = servingPods(u)
	})
	env.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
		defer cancel()
		for _, s := range streams {
			assert.NoError(env, s.CatchUp(ctx))
			s.Stop()
		}
		gaps := t.gaps()
		for _, gap := range gaps {
			env.Error(gap)
		}
		tally.Report(env.T, "gaps", int64(len(gaps)))
	})
}

// servingPods returns the Pods that proxies send requests to.
func servingPods(u *unstructured.Unstructured) []string {
	slice := &discoveryv1.EndpointSlice{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, slice); err != nil {
		panic(err) // the API server sent it
	}
	var uids []string
	for _, e := range slice.Endpoints {
		if serving := e.Conditions.Serving; (serving == nil || *serving) && e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
			uids = append(uids, string(e.TargetRef.UID))
		}
	}
	return uids
}

// gaps replays the timeline and describes each gap.
func (t *pageTimeline) gaps() (wrong []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortStableFunc(t.events, func(a, b timelineEvent) int { return cmp.Compare(a.version, b.version) })
	r := replay{targets: map[string][]string{}, services: map[string]bool{}, alive: map[string]bool{}, slices: map[string]timelineEvent{}, reported: map[string]bool{}}
	for _, m := range t.events {
		for _, gap := range r.step(m) {
			wrong = append(wrong, fmt.Sprintf("at %d (%s) %s", m.version, m.what, gap))
		}
	}
	return wrong
}

// replay is the state at one moment.
type replay struct {
	targets  map[string][]string // and the page sets that they lead to
	services map[string]bool
	alive    map[string]bool // Pods
	slices   map[string]timelineEvent
	reported map[string]bool // sets in use that do not serve, and were reported
}

func (r *replay) step(m timelineEvent) (gaps []string) {
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
		for _, part := range r.slices {
			if slices.Contains(part.pods, m.pod) {
				touched = append(touched, part.serves)
			}
		}
	case m.slice != "":
		if r.slices[m.slice] = m; m.gone {
			delete(r.slices, m.slice)
		}
		touched = []string{m.serves}
	}
	for _, set := range touched {
		user := r.user(set)
		if user == "" || r.serves(set) {
			delete(r.reported, set)
			continue
		}
		if !r.reported[set] {
			gaps = append(gaps, user+" leads to "+set+", which does not serve")
		}
		r.reported[set] = true
	}
	return gaps
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
	for _, part := range r.slices {
		if part.serves == set && slices.ContainsFunc(part.pods, func(uid string) bool { return r.alive[uid] }) {
			return r.services[set]
		}
	}
	return false
}

// TestTimelineFindsGaps: the check fails where it must.
func TestTimelineFindsGaps(t *testing.T) {
	t.Parallel()
	up := []timelineEvent{
		{version: 1, service: "set"}, {version: 2, pod: "a"}, {version: 4, pod: "b"},
		{version: 5, slice: "set-1", serves: "set", pods: []string{"a", "b"}},
	}
	swap := timelineEvent{version: 10, target: "Ingress/x", pages: []string{"set"}}
	for name, test := range map[string]struct {
		then []timelineEvent
		want int
	}{
		"the set serves":                              {[]timelineEvent{swap}, 0},
		"swapped before it serves":                    {[]timelineEvent{{version: 3, target: "Ingress/x", pages: []string{"set"}}}, 1},
		"one of two Pods is deleted":                  {[]timelineEvent{swap, {version: 11, pod: "a", gone: true}}, 0},
		"the last Pod is deleted before its endpoint": {[]timelineEvent{swap, {version: 11, pod: "a", gone: true}, {version: 12, pod: "b", gone: true}, {version: 13, slice: "set-1", serves: "set"}}, 1},
		"the Service is deleted":                      {[]timelineEvent{swap, {version: 11, service: "set", gone: true}}, 1},
		"the endpoints are deleted":                   {[]timelineEvent{swap, {version: 11, slice: "set-1", serves: "set", gone: true}}, 1},
		"the Service is deleted when unused":          {[]timelineEvent{swap, {version: 11, target: "Ingress/x"}, {version: 12, service: "set", gone: true}}, 0},
		"the Service is deleted after its user":       {[]timelineEvent{swap, {version: 11, target: "Ingress/x", gone: true}, {version: 12, service: "set", gone: true}}, 0},
		"twice":                                       {[]timelineEvent{swap, {version: 11, service: "set", gone: true}, {version: 12, service: "set"}, {version: 13, service: "set", gone: true}}, 2},
		"seen out of order":                           {[]timelineEvent{{version: 12, service: "set", gone: true}, swap, {version: 11, target: "Ingress/x"}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			line := &pageTimeline{events: slices.Concat(up, test.then)}
			assert.Len(t, line.gaps(), test.want)
		})
	}
}
