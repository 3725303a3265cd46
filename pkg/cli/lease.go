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
)

// leasePrefix begins the names of Leases, so that people recognise them.
const leasePrefix = "maintenance-run-"

// createLease creates a Lease for a target, which owns it.
func (s *session) createLease(ctx context.Context, f found, holder string, duration time.Duration) (name string, err error) {
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
			AcquireTime: s.microTime(), RenewTime: s.microTime(),
		},
	}
	created, err := s.leases.Leases(ref.Namespace).Create(ctx, lease, metav1.CreateOptions{FieldManager: FieldManager})
	if err != nil {
		return "", fmt.Errorf("create a Lease for %s: %w", s.label(ref), err)
	}
	return created.Name, nil
}

func (s *session) microTime() *metav1.MicroTime { return &metav1.MicroTime{Time: s.clock.Estimate()} }

// renewLease writes only the Lease: every write to a target makes all ingress controllers
// process it.
func (s *session) renewLease(ctx context.Context, namespace, name string) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"renewTime": s.microTime()}})
	if err != nil {
		return err
	}
	_, err = s.leases.Leases(namespace).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
	return err
}

// deleteLeases deletes Leases that hold nothing any more. It ignores errors, because at the
// latest they are deleted with their target.
func (s *session) deleteLeases(ctx context.Context, namespace string, names []string) {
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

// expiredLeaseAge is how long ago a Lease must have expired to be deleted, since clocks
// differ.
const expiredLeaseAge = 10 * time.Minute

// deleteExpiredLeases deletes what commands on machines that died have left for a target.
func (s *session) deleteExpiredLeases(ctx context.Context, f found) {
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
		if now.Sub(spec.RenewTime.Time) > time.Duration(*spec.LeaseDurationSeconds)*time.Second+expiredLeaseAge {
			s.deleteLeases(ctx, lease.Namespace, []string{lease.Name})
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
