package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	coordination "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// leasePrefix begins the names of Leases, to tell people whose they are.
const leasePrefix = "maintenance-run-"

// newLease makes a Lease beside a target: it goes with it.
func (s *session) newLease(ctx context.Context, f found, holder string, duration time.Duration) (name string, err error) {
	ref := f.ref()
	lease := &coordination.Lease{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: leasePrefix, Namespace: ref.Namespace,
			Labels: map[string]string{annotations.LeaseLabel: "run"},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: f.kind.APIVersion(), Kind: f.kind.Name, Name: ref.Name, UID: f.object.GetUID(),
			}},
		},
		Spec: coordination.LeaseSpec{
			HolderIdentity: &holder, LeaseDurationSeconds: ptr.To(int32(duration / time.Second)),
			AcquireTime: s.micro(), RenewTime: s.micro(),
		},
	}
	made, err := s.leases.Leases(ref.Namespace).Create(ctx, lease, metav1.CreateOptions{FieldManager: Manager})
	if err != nil {
		return "", fmt.Errorf("make a Lease beside %s: %w", s.label(ref), err)
	}
	return made.Name, nil
}

func (s *session) micro() *metav1.MicroTime { return &metav1.MicroTime{Time: s.clock.Reckon()} }

// renew writes the Lease and nothing else: a target that is written each 20 s keeps every
// ingress controller busy.
func (s *session) renew(ctx context.Context, namespace, name string) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"renewTime": s.micro()}})
	if err != nil {
		return err
	}
	_, err = s.leases.Leases(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: Manager})
	return err
}

// dropLeases deletes Leases that hold nothing any more. They go with their target at the
// latest, so that an error is none.
func (s *session) dropLeases(ctx context.Context, namespace string, names []string) {
	for _, name := range names {
		lease, err := s.leases.Leases(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			continue
		}
		if _, ours := lease.Labels[annotations.LeaseLabel]; ours {
			_ = s.leases.Leases(namespace).Delete(ctx, name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(lease.UID))})
		}
	}
}

// longExpired is for how long a Lease has to have expired to be swept away: clocks differ.
const longExpired = 10 * time.Minute

// sweep deletes what commands on machines that died have left beside a target.
func (s *session) sweep(ctx context.Context, f found) {
	all, err := s.leases.Leases(f.ref().Namespace).List(ctx, metav1.ListOptions{LabelSelector: annotations.LeaseLabel})
	if err != nil {
		return
	}
	now, known := s.clock.Now()
	for _, lease := range all.Items {
		spec := lease.Spec
		if !known || spec.RenewTime == nil || spec.LeaseDurationSeconds == nil || !ownedBy(lease.OwnerReferences, f) {
			continue
		}
		if now.Sub(spec.RenewTime.Time) > time.Duration(*spec.LeaseDurationSeconds)*time.Second+longExpired {
			s.dropLeases(ctx, lease.Namespace, []string{lease.Name})
		}
	}
}

func ownedBy(owners []metav1.OwnerReference, f found) bool {
	for _, o := range owners {
		if o.UID == f.object.GetUID() {
			return true
		}
	}
	return false
}

// holding is a target that a command keeps in maintenance.
type holding struct {
	target target.Ref
	uid    types.UID
	lease  string
	found  // as it was read last

	// held says that the command's end ends it. It is false where a person has it in
	// maintenance, or has ended it.
	held bool
	// last is when the Lease was renewed, by this machine's clock.
	last time.Time
	// failing says that the Lease cannot be renewed at the moment, gone that somebody has
	// ended it, and warned that people were told of a lapse.
	failing, gone, warned bool
}

func (h *holding) ref() target.Ref { return h.target }
