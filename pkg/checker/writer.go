package checker

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/record"

	"maintenance-controller.io/pkg/apis/v1alpha1"
	"maintenance-controller.io/pkg/notice"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/queue"
)

const (
	// apart is the least time between two writes of one checker's status.
	apart = time.Second
	// patient is how long a checker's first readings are waited for: until then, what its
	// status says of an earlier process is better than that nothing is known.
	patient = 10 * time.Second
	writers = 8
)

// WriterConfig is what a Writer stands on.
type WriterConfig struct {
	Registry *Registry
	Dynamic  dynamic.Interface
	Recorder record.EventRecorder
	Log      *zap.Logger
	Clock    Clock // nil is the Registry's
	// Observe is told of each reconcile, see queue.Config; nil tells nobody.
	Observe func(queue, result string, took time.Duration)
	// Wrote is told of each write of a status; nil tells nobody.
	Wrote func()
}

// Writer writes what a Registry sees into the status of the checkers, and tells it.
// Only the leader runs one.
type Writer struct {
	config WriterConfig
	work   *queue.Queue[types.NamespacedName]
	board  *notice.Board[types.NamespacedName]

	mu      sync.Mutex
	written map[types.NamespacedName]*written
}

// written is what was written of a checker last. A key is worked on by one worker at a
// time, which alone changes it.
type written struct {
	uid  types.UID
	at   time.Time
	base string // the version that the write stood on
	sent v1alpha1.ServiceCheckerStatus
	// answered is what the API server made of it: a webhook, or another CRD of this name,
	// may have left it otherwise.
	answered v1alpha1.ServiceCheckerStatus
	// counted is what each service counted as when it was told last.
	counted map[types.NamespacedName]v1alpha1.ServiceState
}

// NewWriter gives a Writer that has not started.
func NewWriter(c WriterConfig) *Writer {
	if c.Clock == nil {
		c.Clock = c.Registry.config.Clock
	}
	if c.Wrote == nil {
		c.Wrote = func() {}
	}
	return &Writer{
		config: c, written: map[types.NamespacedName]*written{},
		work:  queue.New[types.NamespacedName](queue.Config{Name: "checker-status", Log: c.Log, Observe: c.Observe, Clock: c.Clock}),
		board: notice.New[types.NamespacedName](c.Recorder),
	}
}

// Run writes until ctx ends.
func (w *Writer) Run(ctx context.Context) {
	for _, key := range w.config.Registry.follow(w.work.Add) {
		w.work.Add(key)
	}
	defer w.config.Registry.follow(nil)
	w.work.Run(ctx, writers, w.reconcile)
}

// follow has poked told of each evaluation from now on, and gives the checkers there are.
func (r *Registry) follow(poked func(types.NamespacedName)) []types.NamespacedName {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.poked = poked
	keys := make([]types.NamespacedName, 0, len(r.checkers))
	for key := range r.checkers {
		keys = append(keys, key)
	}
	return keys
}

func (w *Writer) reconcile(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	c := w.config.Registry.get(key)
	if c == nil {
		w.forget(key)
		return 0, nil
	}
	now := w.config.Clock.Now()
	if left := c.waiting(now); left > 0 {
		return left, nil
	}
	last := w.last(key, c.object)
	want := status(c.object.Generation, c.entries, c.wrong, last.conditions(c.object), now)
	if !last.holds(c.object, want) {
		if left := last.at.Add(apart).Sub(now); left > 0 {
			return left, nil
		}
		last.at = now
		if err := w.write(ctx, c.object, want, last); err != nil {
			return 0, err
		}
	}
	w.tell(key, c, last)
	return 0, nil
}

// waiting says how long the first readings of a checker are waited for still.
func (c *checked) waiting(now time.Time) time.Duration {
	if !slices.ContainsFunc(c.entries, func(e entry) bool { return e.invalid == "" && !e.seen }) {
		return 0
	}
	if c.object.Status.ObservedGeneration == 0 { // it says nothing yet
		return c.begun.Add(apart).Sub(now)
	}
	return c.begun.Add(patient).Sub(now)
}

func (w *Writer) last(key types.NamespacedName, object *stored) *written {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.written[key]
	if last == nil || last.uid != object.UID {
		last = &written{uid: object.UID, counted: map[types.NamespacedName]v1alpha1.ServiceState{}}
		for _, s := range object.Status.Services {
			named := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
			if _, twice := last.counted[named]; !twice { // only the first is watched
				last.counted[named] = s.State
			}
		}
		w.written[key] = last
	}
	return last
}

func (w *Writer) forget(key types.NamespacedName) {
	w.board.Forget(key)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.written, key)
}

// stands says whether the object is as the last write left it, or has not been seen since.
func (l *written) stands(object *stored) bool {
	return l.base != "" && (object.ResourceVersion == l.base || sameStatus(object.Status, l.answered))
}

// conditions that the next ones go on from.
func (l *written) conditions(object *stored) []metav1.Condition {
	if l.stands(object) {
		return l.sent.Conditions
	}
	return object.Status.Conditions
}

// holds says whether there is nothing to write.
func (l *written) holds(object *stored, want v1alpha1.ServiceCheckerStatus) bool {
	if l.stands(object) {
		return sameStatus(l.sent, want)
	}
	return sameStatus(object.Status, want)
}

// write stores the status, unless the checker has changed since it was read.
func (w *Writer) write(ctx context.Context, object *stored, want v1alpha1.ServiceCheckerStatus, last *written) error {
	patch, err := patchOf(object.ResourceVersion, want)
	if err != nil {
		return err
	}
	answer, err := w.config.Dynamic.Resource(v1alpha1.Resource()).Namespace(object.Namespace).
		Patch(ctx, object.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: ownership.Manager}, "status")
	if apierrors.IsNotFound(err) { // deleted meanwhile, which the watch will say
		return nil
	}
	if err != nil {
		return fmt.Errorf("write status of ServiceChecker %s: %w", nameOf(object), err)
	}
	w.config.Wrote()
	stored := statusOf(answer)
	last.base, last.sent, last.answered = object.ResourceVersion, want, stored
	if !sameStatus(want, stored) {
		w.config.Log.Warn("status of a ServiceChecker was stored otherwise than it was written: a webhook or another CRD is in the way",
			zap.Stringer("checker", nameOf(object)))
	}
	return nil
}

// patchOf makes the status what is wanted, and fails if the object is of another version.
func patchOf(version string, want v1alpha1.ServiceCheckerStatus) ([]byte, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&want)
	if err != nil {
		return nil, fmt.Errorf("write down a status: %w", err)
	}
	if len(want.Services) == 0 {
		fields["services"] = nil // a merge would keep what is there
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": version}, "status": fields})
}

func statusOf(answer *unstructured.Unstructured) v1alpha1.ServiceCheckerStatus {
	object, err := read(answer)
	if s, ok := object.(*stored); ok && err == nil {
		return s.Status
	}
	return v1alpha1.ServiceCheckerStatus{}
}

// tell says what has come about since the last time, and what lasts.
func (w *Writer) tell(key types.NamespacedName, c *checked, last *written) {
	about := &corev1.ObjectReference{
		APIVersion: v1alpha1.GroupVersion().String(), Kind: v1alpha1.Kind,
		Namespace: key.Namespace, Name: key.Name, UID: c.object.UID, ResourceVersion: c.object.ResourceVersion,
	}
	w.board.Tell(key, about, append(last.turns(c), lasting(c)...))
}

// turns are what critical services count as since now.
func (l *written) turns(c *checked) []notice.Notice {
	var all []notice.Notice
	named := map[types.NamespacedName]bool{}
	defer maps.DeleteFunc(l.counted, func(key types.NamespacedName, _ v1alpha1.ServiceState) bool { return !named[key] })
	for i := range c.entries {
		e := &c.entries[i]
		named[e.key()] = true
		before, now := l.counted[e.key()], e.state()
		if e.invalid != "" || now == v1alpha1.Unknown || before == now {
			continue
		}
		l.counted[e.key()] = now
		switch {
		case !e.Critical:
		case now == v1alpha1.Down:
			all = append(all, notify(CriticalServiceDown, fmt.Sprintf("%s, and was not ready for %s", e.says(), c.waits.down)))
		case before == v1alpha1.Down:
			all = append(all, notify(CriticalServiceUp, fmt.Sprintf("Service %s has been ready for %s", e.key(), c.waits.up)))
		}
	}
	return all
}

func notify(reason Reason, message string) notice.Notice {
	return notice.Notice{Warning: reason.warning(), Reason: string(reason), Message: message}
}

// lasting are warnings that hold for as long as the spec is so.
func lasting(c *checked) []notice.Notice {
	var all []notice.Notice
	if c.wrong != "" {
		all = append(all, notify(InvalidService, c.wrong))
	}
	for i := range c.entries {
		switch e := &c.entries[i]; {
		case e.invalid != "":
			all = append(all, notify(InvalidService, e.says()))
		case e.unjudged:
			all = append(all, notify(ServiceNotJudged, e.says()))
		}
	}
	return all
}
