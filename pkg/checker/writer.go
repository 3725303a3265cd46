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
	// minWriteInterval is the minimum time between two status writes of one checker.
	minWriteInterval = time.Second
	// firstReadingTimeout is how long to wait for a checker's first readings: until then the status
	// of an earlier process is better than Unknown.
	firstReadingTimeout = 10 * time.Second
	writeWorkers        = 8
)

// WriterConfig configures a Writer. Registry, Dynamic, Recorder and Log are required.
type WriterConfig struct {
	Registry *Registry
	Dynamic  dynamic.Interface    // to write the status
	Recorder record.EventRecorder // of Events on the checkers
	Log      *zap.Logger
	Clock    Clock // nil is the Registry's
	// Observe is called after each reconcile, see queue.Config; nil observes nothing.
	Observe func(queue, result string, took time.Duration)
	// OnWrite is called after each status write; nil calls nothing.
	OnWrite func()
}

// Writer writes what a Registry sees into the status of the checkers, and records Events. Only the
// leader runs one.
type Writer struct {
	config WriterConfig
	work   *queue.Queue[types.NamespacedName]
	board  *notice.Board[types.NamespacedName]

	mu         sync.Mutex
	lastWrites map[types.NamespacedName]*lastWrite
}

// lastWrite is what was last written of a checker. Only the one worker that processes the key
// changes it.
type lastWrite struct {
	uid         types.UID
	at          time.Time
	baseVersion string // the resourceVersion that the write was based on
	sent        v1alpha1.ServiceCheckerStatus
	// answered is what the API server stored: a webhook, or another CRD of this name, may have
	// changed it.
	answered v1alpha1.ServiceCheckerStatus
	// lastStates is what each service counted as at the last Event.
	lastStates map[types.NamespacedName]v1alpha1.ServiceState
}

// NewWriter returns a Writer that has not started.
func NewWriter(c WriterConfig) *Writer {
	if c.Clock == nil {
		c.Clock = c.Registry.config.Clock
	}
	if c.OnWrite == nil {
		c.OnWrite = func() {}
	}
	return &Writer{
		config: c, lastWrites: map[types.NamespacedName]*lastWrite{},
		work:  queue.New[types.NamespacedName](queue.Config{Name: "checker-status", Log: c.Log, Observe: c.Observe, Clock: c.Clock}),
		board: notice.New[types.NamespacedName](c.Recorder),
	}
}

// Run writes until ctx ends.
func (w *Writer) Run(ctx context.Context) {
	for _, key := range w.config.Registry.subscribe(w.work.Add) {
		w.work.Add(key)
	}
	defer w.config.Registry.subscribe(nil)
	w.work.Run(ctx, writeWorkers, w.reconcile)
}

// subscribe sets the function that is called after each evaluation, and returns the existing
// checkers.
func (r *Registry) subscribe(poked func(types.NamespacedName)) []types.NamespacedName {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onEvaluated = poked
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
	if left := c.readingsWait(now); left > 0 {
		return left, nil
	}
	last := w.lastWriteOf(key, c.object)
	want := status(c.object.Generation, c.entries, c.unreadable, last.conditions(c.object), now)
	if !last.upToDate(c.object, want) {
		if left := last.at.Add(minWriteInterval).Sub(now); left > 0 {
			return left, nil
		}
		last.at = now
		if err := w.write(ctx, c.object, want, last); err != nil {
			return 0, err
		}
	}
	w.sendEvents(key, c, last)
	return 0, nil
}

// readingsWait returns how long to wait for the first readings of a checker.
func (c *evaluated) readingsWait(now time.Time) time.Duration {
	if !slices.ContainsFunc(c.entries, func(e entry) bool { return e.invalid == "" && !e.everKnown }) {
		return 0
	}
	if c.object.Status.ObservedGeneration == 0 { // it has no status yet
		return c.firstEvaluated.Add(minWriteInterval).Sub(now)
	}
	return c.firstEvaluated.Add(firstReadingTimeout).Sub(now)
}

func (w *Writer) lastWriteOf(key types.NamespacedName, object *cachedChecker) *lastWrite {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.lastWrites[key]
	if last == nil || last.uid != object.UID {
		last = &lastWrite{uid: object.UID, lastStates: map[types.NamespacedName]v1alpha1.ServiceState{}}
		for _, s := range object.Status.Services {
			named := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
			if _, twice := last.lastStates[named]; !twice { // only the first entry is watched
				last.lastStates[named] = s.State
			}
		}
		w.lastWrites[key] = last
	}
	return last
}

func (w *Writer) forget(key types.NamespacedName) {
	w.board.Forget(key)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.lastWrites, key)
}

// unchanged reports whether the object is as the last write left it, or has not been seen since.
func (l *lastWrite) unchanged(object *cachedChecker) bool {
	return l.baseVersion != "" && (object.ResourceVersion == l.baseVersion || sameStatus(object.Status, l.answered))
}

// conditions returns the conditions that the next status continues.
func (l *lastWrite) conditions(object *cachedChecker) []metav1.Condition {
	if l.unchanged(object) {
		return l.sent.Conditions
	}
	return object.Status.Conditions
}

// upToDate reports whether there is nothing to write.
func (l *lastWrite) upToDate(object *cachedChecker, want v1alpha1.ServiceCheckerStatus) bool {
	if l.unchanged(object) {
		return sameStatus(l.sent, want)
	}
	return sameStatus(object.Status, want)
}

// write stores the status, unless the checker has changed since it was read.
func (w *Writer) write(ctx context.Context, object *cachedChecker, want v1alpha1.ServiceCheckerStatus, last *lastWrite) error {
	patch, err := patchOf(object.ResourceVersion, want)
	if err != nil {
		return err
	}
	answer, err := w.config.Dynamic.Resource(v1alpha1.Resource()).Namespace(object.Namespace).
		Patch(ctx, object.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: ownership.Manager}, "status")
	if apierrors.IsNotFound(err) { // deleted in the meantime: the watch reports it
		return nil
	}
	if err != nil {
		return fmt.Errorf("write status of ServiceChecker %s: %w", nameOf(object), err)
	}
	w.config.OnWrite()
	stored := statusOf(answer)
	last.baseVersion, last.sent, last.answered = object.ResourceVersion, want, stored
	if !sameStatus(want, stored) {
		w.config.Log.Warn("the stored status of a ServiceChecker differs from what was written: check for a webhook or another CRD that changes it",
			zap.Stringer("checker", nameOf(object)))
	}
	return nil
}

// patchOf returns a patch that sets the status, and fails if the object has another version.
func patchOf(version string, want v1alpha1.ServiceCheckerStatus) ([]byte, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&want)
	if err != nil {
		return nil, fmt.Errorf("encode status: %w", err)
	}
	if len(want.Services) == 0 {
		fields["services"] = nil // a merge would keep the existing entries
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": version}, "status": fields})
}

func statusOf(answer *unstructured.Unstructured) v1alpha1.ServiceCheckerStatus {
	object, err := toCached(answer)
	if s, ok := object.(*cachedChecker); ok && err == nil {
		return s.Status
	}
	return v1alpha1.ServiceCheckerStatus{}
}

// sendEvents records what has changed since the last call, and the warnings that still hold.
func (w *Writer) sendEvents(key types.NamespacedName, c *evaluated, last *lastWrite) {
	about := &corev1.ObjectReference{
		APIVersion: v1alpha1.GroupVersion().String(), Kind: v1alpha1.Kind,
		Namespace: key.Namespace, Name: key.Name, UID: c.object.UID, ResourceVersion: c.object.ResourceVersion,
	}
	w.board.Post(key, about, append(last.transitions(c), standingWarnings(c)...))
}

// transitions returns Events for critical services that now count as something else.
func (l *lastWrite) transitions(c *evaluated) []notice.Notice {
	var all []notice.Notice
	named := map[types.NamespacedName]bool{}
	defer maps.DeleteFunc(l.lastStates, func(key types.NamespacedName, _ v1alpha1.ServiceState) bool { return !named[key] })
	for i := range c.entries {
		e := &c.entries[i]
		named[e.key()] = true
		before, now := l.lastStates[e.key()], e.state()
		if e.invalid != "" || now == v1alpha1.Unknown || before == now {
			continue
		}
		l.lastStates[e.key()] = now
		switch {
		case !e.Critical:
		case now == v1alpha1.Down:
			all = append(all, newNotice(CriticalServiceDown, fmt.Sprintf("%s; it has not been ready for %s", e.sentence(), c.waits.down)))
		case before == v1alpha1.Down:
			all = append(all, newNotice(CriticalServiceUp, fmt.Sprintf("Service %s has been ready for %s", e.key(), c.waits.up)))
		}
	}
	return all
}

func newNotice(reason Reason, message string) notice.Notice {
	return notice.Notice{Warning: reason.warning(), Reason: string(reason), Message: message}
}

// standingWarnings returns the warnings that hold as long as the spec does not change.
func standingWarnings(c *evaluated) []notice.Notice {
	var all []notice.Notice
	if c.unreadable != "" {
		all = append(all, newNotice(InvalidService, c.unreadable))
	}
	for i := range c.entries {
		switch e := &c.entries[i]; {
		case e.invalid != "":
			all = append(all, newNotice(InvalidService, e.sentence()))
		case e.unjudged:
			all = append(all, newNotice(ServiceNotJudged, e.sentence()))
		}
	}
	return all
}
