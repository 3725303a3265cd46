package watch

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// RestartExpiry gives every Lease that the target names its full duration again, counted from when
// the API server next answers: the API server could not be asked about the target, so nobody could
// have renewed the Leases either.
func (l *Leases) RestartExpiry(ref target.Ref) {
	l.mu.Lock()
	defer l.mu.Unlock()
	space := l.namespaces[ref.Namespace]
	if space == nil {
		return
	}
	for _, name := range space.users[ref] {
		if known := space.leases[name]; known != nil && known.Problem == "" {
			l.restartExpiry(ref.Namespace, name, known)
		}
	}
}

func (l *Leases) restartExpiry(namespace, name string, known *lease) {
	known.Since, known.Renewed, known.unanswered = l.config.Clock.Now(), true, true
	l.setAlarm(namespace, name, known)
}

// Confirm reads Leases that seem to have expired from the API server, because a watch may lag and
// maintenance that ends does not start again. If the API server cannot be asked, nobody could have
// renewed them either: they get their full duration again, and the error is returned. A Lease that
// does not exist or may not be read is no error.
func (l *Leases) Confirm(ctx context.Context, namespace string, names []string) error {
	for _, name := range names {
		live, err := l.config.Client.CoordinationV1().Leases(namespace).Get(ctx, name, metav1.GetOptions{})
		l.applyAnswer(namespace, name, live, err)
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return fmt.Errorf("read Lease %s/%s: %w", namespace, name, err)
		}
	}
	return nil
}

// applyAnswer records what the API server answered about a Lease.
func (l *Leases) applyAnswer(namespace, name string, live *coordinationv1.Lease, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	space := l.namespaces[namespace]
	if space == nil {
		return
	}
	known := space.leases[name]
	if known != nil {
		known.ReadError = ""
	}
	switch {
	case apierrors.IsNotFound(err): // the watch reports it
	case err == nil:
		if _, labelled := live.Labels[annotations.LeaseLabel]; labelled {
			if known, _ = l.observe(space, live); known != nil {
				l.setAlarm(namespace, name, known)
			}
		}
	case known == nil:
	case apierrors.IsForbidden(err): // the watch may have ended for the same reason
		known.ReadError = unreadReason(err)
		l.setAlarm(namespace, name, known)
	default:
		l.restartExpiry(namespace, name, known)
	}
}
