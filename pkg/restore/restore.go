// Package restore ends maintenance from outside the controller: for a person
// with a kubeconfig at hand, and for an uninstall. It decides as the controller
// does, for a target that asks for nothing, and does it without caches.
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

// Config of a Restorer.
type Config struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// Installation whose maintenance Everything ends, and whose page sets Collect deletes:
	// its own, and what carries no id. The zero value is for all of them.
	Installation installation.Installation
	// Kinds that are looked at.
	Kinds []target.Kind
	// Keys are the annotations that people write, as the controller is configured.
	Keys annotations.Keys
	// RemoveAnnotations takes off what people wrote as well: a controller that is
	// started later would put the target in maintenance again.
	RemoveAnnotations bool
	// Working names the controller that works, empty if none does. What asks for
	// maintenance then stays in it: it would be put in again at once.
	Working string
	// Clock that the time is read from; nil is the real one.
	Clock clock.PassiveClock
	// DryRun asks the API server what would come of it, and stores nothing.
	DryRun bool
}

// Restorer ends maintenance.
type Restorer struct {
	Config
	ownOnly bool // what another installation has in maintenance is left alone
}

func (r *Restorer) now() time.Time {
	if r.Clock == nil {
		return time.Now()
	}
	return r.Clock.Now()
}

// Outcome is what has become of a target.
type Outcome struct {
	Ref target.Ref
	// Before and After are the object as it was read first, and as it is now;
	// nil if it is not there.
	Before, After *unstructured.Unstructured
	// Changed says that something was written, or would have been.
	Changed bool
	// Other is the id of another installation that has the target in maintenance.
	// LeftAlone says that it was not restored for that.
	Other     string
	LeftAlone bool
	// Enabled says that the target still asks for maintenance.
	Enabled bool
	// Err says why it is not as it was before maintenance.
	Err error
}

// maxSteps bounds the writes to one target: a restore needs two. More are made
// only if somebody else writes meanwhile.
const maxSteps = 20

// errStays marks a target that no further attempt can restore.
var errStays = errors.New("not restored")

// Target restores one target, and tries until ctx ends where trying again can help.
func (r *Restorer) Target(ctx context.Context, ref target.Ref) Outcome {
	out := Outcome{Ref: ref}
	kind, ok := target.KindByName(ref.Kind)
	if !ok {
		out.Err = fmt.Errorf("kind %q is not known", ref.Kind)
		return out
	}
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.1, Cap: 5 * time.Second, Steps: 1000}
	var last error
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		last = r.attempt(ctx, kind, &out)
		if last != nil && !final(last) {
			return false, nil
		}
		return true, last
	})
	if out.Err = err; last != nil {
		out.Err = last // it says more than that time is up
	}
	return out
}

// final says whether the same will happen again.
func final(err error) bool {
	return errors.Is(err, errStays) || apierrors.IsNotFound(err) || refusal.Final(err)
}

func (r *Restorer) attempt(ctx context.Context, kind target.Kind, out *Outcome) error {
	object, err := r.Dynamic.Resource(kind.Resource).Namespace(out.Ref.Namespace).Get(ctx, out.Ref.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read %s: %w", out.Ref, err)
	}
	if out.Before == nil {
		if out.Other, err = r.other(ctx, kind, out.Ref, object); err != nil {
			return err
		}
		out.Before = object
	}
	if out.LeftAlone = out.Other != "" && r.ownOnly; out.LeftAlone {
		return nil
	}
	if key := r.asks(object); key != "" && r.Working != "" && !r.RemoveAnnotations {
		return fmt.Errorf("%w: it asks for maintenance, and a controller works (%s) that would put it in again: take the annotation %s off and the controller restores it, or remove it in the same breath with --remove-annotations, or scale the controller to 0 first",
			errStays, r.Working, key)
	}
	for range maxSteps {
		next, warnings, err := r.step(ctx, kind, out.Ref, object)
		if err != nil {
			return err
		}
		if next != nil {
			object, out.Changed = next, true
			continue
		}
		out.After = object
		out.Enabled = r.asks(object) != ""
		if slots, err := kind.Slots(object.Object); err == nil && swap.OnPage(slots) {
			return fmt.Errorf("%w: %s", errStays, strings.Join(warnings, "; "))
		}
		return nil
	}
	return fmt.Errorf("%w: somebody else keeps writing to it", errStays)
}

// asks names the annotation for which a controller would put the target in maintenance
// again; empty if none would.
func (r *Restorer) asks(object *unstructured.Unstructured) string {
	req, _ := r.Keys.Parse(object.GetAnnotations())
	begun := wanted.ParseSpell(object.GetAnnotations()[annotations.Cause]).On()
	switch {
	case req.Enabled == annotations.On:
		return r.Keys.Enabled
	case req.Enabled == annotations.Unasked && req.Auto != "" && begun:
		return annotations.Auto
	}
	return ""
}

// other gives the id of another installation that has the target in maintenance.
func (r *Restorer) other(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured) (string, error) {
	copies, err := r.copies(ctx, ref)
	if err != nil {
		return "", err
	}
	slots, err := kind.Slots(object.Object)
	if err != nil {
		slots = nil // the step that comes tells
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

// step does what the controller would do next if nothing were asked for. It
// returns the changed object, nil if there is nothing left to change.
func (r *Restorer) step(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured) (next *unstructured.Unstructured, warnings []string, err error) {
	slots, err := kind.Slots(object.Object)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", errStays, ref, err)
	}
	copies, err := r.copies(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	state := plan.State{Now: r.now(), Kind: kind, Object: object.Object, Slots: slots, Backup: copies.backup()}
	if copies.origin != nil {
		state.Origin = &copies.origin.Spec
	}
	d, next, warnings, err := r.decided(ctx, ref, object, state)
	if next != nil || err != nil {
		return next, warnings, err
	}
	if r.DryRun {
		return nil, warnings, nil
	}
	if d.DropOrigin {
		if err := origin.Drop(ctx, r.Client.CoreV1(), copies.origin); err != nil {
			return nil, nil, err
		}
	}
	if d.DropBackup {
		if err := backup.Drop(ctx, r.Client.CoreV1(), copies.configMap); err != nil {
			return nil, nil, err
		}
	}
	return nil, warnings, nil
}

// decided does what is decided, and gives the changed object, nil if there is nothing to
// change. Of what the API server refuses in part, the rest is done.
func (r *Restorer) decided(ctx context.Context, ref target.Ref, object *unstructured.Unstructured, state plan.State) (d plan.Decision, next *unstructured.Unstructured, warnings []string, err error) {
	for {
		d = plan.Decide(state)
		warnings = nil
		for _, e := range d.Events {
			if e.Reason.Warning() {
				warnings = append(warnings, e.Message)
			}
		}
		changed := r.change(object, d.Update)
		if changed == nil || r.DryRun && differsInOwners(object, changed) {
			return d, nil, warnings, nil
		}
		next, err = r.update(ctx, state.Kind, ref, changed)
		without, fewer := plan.Refuse(state, err)
		if !fewer {
			return d, next, warnings, err
		}
		state = without
	}
}

// change is what is to be written: the decision's update, without what people
// wrote if that is to go; nil if the object can stay as it is.
func (r *Restorer) change(object *unstructured.Unstructured, update map[string]any) *unstructured.Unstructured {
	changed := object
	if update != nil {
		changed = &unstructured.Unstructured{Object: update}
	}
	if kept, asks := r.Keys.Remove(changed.GetAnnotations()); asks && r.RemoveAnnotations {
		changed = changed.DeepCopy()
		if len(kept) == 0 {
			kept = nil // no empty map where there was none
		}
		changed.SetAnnotations(kept)
		return changed
	}
	if update == nil {
		return nil
	}
	return changed
}

// differsInOwners says whether nothing differs but who owns the fields. A dry run
// stores nothing between two writes, so that the API server books them on the
// controller each time.
func differsInOwners(a, b *unstructured.Unstructured) bool {
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

// copies are what is kept of a target outside it.
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
	_, b, _ := backup.Parse(c.configMap) // it says if it cannot be read
	return &b
}
