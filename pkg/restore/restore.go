// Package restore ends maintenance from outside the controller, for a person with a kubeconfig and
// for an uninstall. It decides as the controller does for a target that asks for nothing, and uses
// no caches.
package restore

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/refusal"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

// Config configures a Restorer. Client, Dynamic, Kinds and Keys are required.
type Config struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface // to read and write targets
	// Installation whose maintenance All ends and whose page sets DeletePageSets deletes: its own
	// and those without an id. The zero value matches all installations.
	Installation installation.Installation
	// Kinds of the targets that All restores.
	Kinds []target.Kind
	// Keys are the annotations that people write, as the controller is configured.
	Keys annotations.Keys
	// RemoveAnnotations also removes the annotations that people wrote. Otherwise a controller that
	// starts later puts the target back in maintenance.
	RemoveAnnotations bool
	// ActiveController is the identity of the running controller, empty if none runs. While one
	// runs, targets that ask for maintenance are not restored: the controller would put them back at
	// once.
	ActiveController string
	// Clock to read the time from; nil is the real one.
	Clock clock.PassiveClock
	// DryRun sends all writes as dry runs and stores nothing.
	DryRun bool
}

// Restorer ends maintenance.
type Restorer struct {
	Config
	ownOnly bool // leaves targets of other installations alone
}

func (r *Restorer) now() time.Time {
	if r.Clock == nil {
		return time.Now()
	}
	return r.Clock.Now()
}

// Outcome is the result for one target.
type Outcome struct {
	Ref target.Ref // the target
	// Before and After are the object as it was first read and as it is now; nil if it does not
	// exist.
	Before, After *unstructured.Unstructured
	// Changed is true if something was written, or would have been in a dry run.
	Changed bool
	// OtherInstallation is the id of another installation that has the target in maintenance.
	// LeftAlone is true if the target was not restored for that reason.
	OtherInstallation string
	LeftAlone         bool
	// Enabled is true if the target still asks for maintenance.
	Enabled bool
	// Err says why the target is not restored; nil if it is.
	Err error
}

// maxWrites bounds the writes to one target. A restore takes two; more are needed only if another
// client writes at the same time.
const maxWrites = 20

// errNotRestored marks a target that no further attempt can restore.
var errNotRestored = errors.New("not restored")

// Target restores one target. It retries transient errors until ctx ends.
func (r *Restorer) Target(ctx context.Context, ref target.Ref) Outcome {
	out := Outcome{Ref: ref}
	kind, ok := target.KindByName(ref.Kind)
	if !ok {
		out.Err = fmt.Errorf("unknown kind %q", ref.Kind)
		return out
	}
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.1, Cap: 5 * time.Second, Steps: 1000}
	var last error
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		err := r.attempt(ctx, kind, &out)
		if interrupted := err != nil && ctx.Err() != nil; !interrupted || last == nil {
			last = err // otherwise it still says why earlier attempts failed
		}
		if last != nil && !final(last) {
			return false, nil
		}
		return true, last
	})
	if out.Err = err; last != nil {
		out.Err = last // it says more than that the time is up
	}
	return out
}

// final reports whether a retry would fail the same way.
func final(err error) bool {
	return errors.Is(err, errNotRestored) || apierrors.IsNotFound(err) || refusal.Final(err)
}

func (r *Restorer) attempt(ctx context.Context, kind target.Kind, out *Outcome) error {
	object, err := r.Dynamic.Resource(kind.Resource).Namespace(out.Ref.Namespace).Get(ctx, out.Ref.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read %s: %w", out.Ref, err)
	}
	if out.Before == nil {
		if out.OtherInstallation, err = r.otherInstallation(ctx, kind, out.Ref, object); err != nil {
			return err
		}
		out.Before = object
	}
	if out.LeftAlone = out.OtherInstallation != "" && r.ownOnly; out.LeftAlone {
		return nil
	}
	if key := r.requestedBy(object); key != "" && r.ActiveController != "" && !r.RemoveAnnotations {
		return fmt.Errorf("%w: it asks for maintenance, and a running controller (%s) would put it back: remove the annotation %s and let the controller restore it, or add --remove-annotations, or scale the controller to 0 first",
			errNotRestored, r.ActiveController, key)
	}
	for range maxWrites {
		next, warnings, err := r.step(ctx, kind, out.Ref, object)
		if err != nil {
			return err
		}
		if next != nil {
			object, out.Changed = next, true
			continue
		}
		out.After = object
		out.Enabled = r.requestedBy(object) != ""
		if slots, err := kind.Slots(object.Object); err == nil && swap.OnPage(slots) {
			return fmt.Errorf("%w: %s", errNotRestored, strings.Join(warnings, "; "))
		}
		return nil
	}
	return fmt.Errorf("%w: another client keeps changing it: stop that client and try again", errNotRestored)
}

// requestedBy returns the annotation for which a controller would put the target back in
// maintenance; empty if none would.
func (r *Restorer) requestedBy(object *unstructured.Unstructured) string {
	req, _ := r.Keys.Parse(object.GetAnnotations())
	begun := wanted.ParseEpisode(object.GetAnnotations()[annotations.Cause]).On()
	switch {
	case req.Enabled == annotations.On:
		return r.Keys.Enabled
	case req.Enabled == annotations.Unset && req.Auto != "" && begun:
		return annotations.Auto
	}
	return ""
}

// otherInstallation returns the id of another installation that has the target in maintenance.
func (r *Restorer) otherInstallation(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured) (string, error) {
	copies, err := r.copies(ctx, ref)
	if err != nil {
		return "", err
	}
	slots, err := kind.Slots(object.Object)
	if err != nil {
		slots = nil // the next step reports it
	}
	trace := installation.Trace{Annotations: object.GetAnnotations(), OnPage: swap.OnPage(slots)}
	if copies.configMap != nil {
		trace.Kept = append(trace.Kept, copies.configMap)
	}
	if copies.origin != nil {
		trace.Kept = append(trace.Kept, copies.origin)
	}
	for _, s := range slots {
		if s.PageSet == "" || installation.Of(object) != "" {
			continue
		}
		cm, err := r.Client.CoreV1().ConfigMaps(ref.Namespace).Get(ctx, s.PageSet, metav1.GetOptions{})
		if err == nil {
			trace.Kept = append(trace.Kept, cm)
		} else if !apierrors.IsNotFound(err) {
			return "", fmt.Errorf("read page set of %s: %w", ref, err)
		}
	}
	return r.Installation.Other(trace), nil
}

// step does what the controller would do next for a target that asks for nothing. It returns the
// changed object; nil if there is nothing left to change.
func (r *Restorer) step(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured) (next *unstructured.Unstructured, warnings []string, err error) {
	slots, err := kind.Slots(object.Object)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", errNotRestored, ref, err)
	}
	copies, err := r.copies(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	state := plan.State{Now: r.now(), Kind: kind, Object: object.Object, Slots: slots, Backup: copies.backup()}
	if copies.origin != nil {
		state.Origin = &copies.origin.Spec
	}
	d, next, warnings, err := r.applyDecision(ctx, ref, object, state)
	if next != nil || err != nil {
		return next, warnings, err
	}
	if r.DryRun {
		return nil, warnings, nil
	}
	if d.DropOrigin {
		if err := origin.Delete(ctx, r.Client.CoreV1(), copies.origin); err != nil {
			return nil, nil, err
		}
	}
	if d.DropBackup {
		if err := backup.Delete(ctx, r.Client.CoreV1(), copies.configMap); err != nil {
			return nil, nil, err
		}
	}
	return nil, warnings, nil
}

// applyDecision executes the decision, and returns the changed object; nil if there is nothing to
// change. If the API server refuses a part of the change, the rest is applied.
func (r *Restorer) applyDecision(ctx context.Context, ref target.Ref, object *unstructured.Unstructured, state plan.State) (d plan.Decision, next *unstructured.Unstructured, warnings []string, err error) {
	for {
		d = plan.Decide(state)
		warnings = nil
		for _, e := range d.Events {
			if e.Reason.Warning() {
				warnings = append(warnings, e.Message)
			}
		}
		changed := r.change(object, d.Update)
		if changed == nil || r.DryRun && differOnlyInOwners(object, changed) {
			return d, nil, warnings, nil
		}
		next, err = r.update(ctx, state.Kind, ref, changed)
		without, fewer := plan.ExcludeRefused(state, err)
		if !fewer {
			return d, next, warnings, err
		}
		state = without
	}
}

// change returns the object to write: the decision's update, without the annotations that people
// wrote if those are to be removed; nil if the object can stay as it is.
func (r *Restorer) change(object *unstructured.Unstructured, update map[string]any) *unstructured.Unstructured {
	changed := object
	if update != nil {
		changed = &unstructured.Unstructured{Object: update}
	}
	if kept, asks := r.Keys.Remove(changed.GetAnnotations()); asks && r.RemoveAnnotations {
		changed = changed.DeepCopy()
		if len(kept) == 0 {
			kept = nil // do not add an empty map
		}
		changed.SetAnnotations(kept)
		return changed
	}
	if update == nil {
		return nil
	}
	return changed
}

// differOnlyInOwners reports whether only the field owners differ. A dry run stores nothing between
// two writes, so that the API server attributes the fields to the controller each time.
func differOnlyInOwners(a, b *unstructured.Unstructured) bool {
	a, b = a.DeepCopy(), b.DeepCopy()
	a.SetManagedFields(nil)
	b.SetManagedFields(nil)
	return reflect.DeepEqual(a.Object, b.Object)
}

func (r *Restorer) update(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	options := metav1.UpdateOptions{FieldManager: ownership.Manager}
	if r.DryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	next, err := r.Dynamic.Resource(kind.Resource).Namespace(ref.Namespace).Update(ctx, object, options)
	if err != nil {
		return nil, fmt.Errorf("update %s: %w", ref, err)
	}
	return next, nil
}

// copies are the objects that are kept for a target outside it.
type copies struct {
	configMap *corev1.ConfigMap
	origin    *corev1.Service
}

func (r *Restorer) copies(ctx context.Context, ref target.Ref) (c copies, err error) {
	if c.configMap, err = backup.Get(ctx, r.Client.CoreV1(), ref); err != nil {
		return c, err
	}
	c.origin, err = origin.Get(ctx, r.Client.CoreV1(), ref)
	return c, err
}

func (c copies) backup() *plan.Backup {
	if c.configMap == nil {
		return nil
	}
	_, b, _ := backup.Parse(c.configMap) // the backup itself says if it cannot be read
	return &b
}
