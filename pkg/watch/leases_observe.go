package watch

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
)

// reduceLease keeps what the holder writes, and when the object was last written.
func reduceLease(object any) (any, error) {
	in, ok := object.(*coordinationv1.Lease)
	if !ok {
		return object, nil
	}
	return &coordinationv1.Lease{Spec: in.Spec, ObjectMeta: metav1.ObjectMeta{
		Namespace: in.Namespace, Name: in.Name, UID: in.UID, ResourceVersion: in.ResourceVersion, CreationTimestamp: metav1.NewTime(lastWritten(in)),
	}}, nil
}

// lastWritten returns when the API server last stored the Lease, by the API server's clock.
func lastWritten(in *coordinationv1.Lease) time.Time {
	last := in.CreationTimestamp.Time
	for _, e := range in.ManagedFields {
		if e.Time != nil && e.Time.After(last) {
			last = e.Time.Time
		}
	}
	return last
}

// synced records that the initial list has been seen.
func (l *Leases) synced(namespace string, space *leaseNamespace) {
	l.mu.Lock()
	defer l.mu.Unlock()
	space.synced, space.failed = true, ""
	l.addMissing(namespace, space)
	for ref := range space.users {
		l.config.OnTarget(ref)
	}
}

// watchFailed records why Leases cannot be read.
func (l *Leases) watchFailed(space *leaseNamespace, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if space.synced {
		return // the watch resumes where it was
	}
	why := unreadReason(err)
	if space.failed == why {
		return
	}
	space.failed = why
	for ref := range space.users {
		l.config.OnTarget(ref)
	}
}

// unreadReason explains why a Lease cannot be read, as a relative clause.
func unreadReason(err error) string {
	text := annotations.ClipTo(err.Error(), annotations.MaxMessage/4)
	if apierrors.IsForbidden(err) {
		return "which this controller may not read (grant it get, list and watch on leases.coordination.k8s.io): " + text
	}
	return "which cannot be read: " + text
}

// changed handles a Lease that the watch shows.
func (l *Leases) changed(space *leaseNamespace, object any) {
	seen, ok := object.(*coordinationv1.Lease)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if known, news := l.observe(space, seen); known != nil {
		l.setAlarm(seen.Namespace, seen.Name, known)
		if news {
			l.notifyUsers(space, seen.Name)
		}
	}
}

// observe updates what is known of a Lease from the object that was seen. It returns nil if nothing
// changed, and whether its users must be notified now.
func (l *Leases) observe(space *leaseNamespace, seen *coordinationv1.Lease) (known *lease, news bool) {
	now := l.config.Clock.Now()
	before := space.leases[seen.Name]
	if before != nil && before.uid == string(seen.UID) && sameLease(before.spec, seen.Spec) {
		if before.ReadError == "" {
			return nil, false
		}
		before.ReadError = ""
		return before, true
	}
	known = &lease{uid: string(seen.UID), spec: seen.Spec}
	known.Since, known.Written, known.Renewed = now, lastWritten(seen), before != nil
	if seconds := seen.Spec.LeaseDurationSeconds; seconds != nil && *seconds > 0 {
		known.Duration = time.Duration(*seconds) * time.Second
	} else {
		known.Problem = "which does not say how long a renewal holds (set spec.leaseDurationSeconds)"
		if before != nil && before.Problem == known.Problem {
			known.Since = before.Since // a renewal does not fix the problem
		}
	}
	space.leases[seen.Name] = known
	news = before == nil || before.Problem != known.Problem || known.Problem == "" && !now.Before(before.MayBeginUntil())
	return known, news
}

func sameLease(a, b coordinationv1.LeaseSpec) bool {
	return same(a.HolderIdentity, b.HolderIdentity) && same(a.LeaseDurationSeconds, b.LeaseDurationSeconds) && same(a.LeaseTransitions, b.LeaseTransitions) &&
		a.RenewTime.Equal(b.RenewTime) && a.AcquireTime.Equal(b.AcquireTime)
}

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// deleted records since when a Lease is missing.
func (l *Leases) deleted(space *leaseNamespace, object any) {
	was, ok := eventObject[*coordinationv1.Lease](object)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(space.leases, was.Name)
	l.alarms.Set(leaseKey{was.Namespace, was.Name}, time.Time{})
	l.addMissing(was.Namespace, space)
	l.notifyUsers(space, was.Name)
}
