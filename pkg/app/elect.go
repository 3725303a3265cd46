package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// election has what elect needs.
type election struct {
	leases   coordinationv1client.LeasesGetter
	log      *zap.Logger
	ready    *atomic.Bool // set when this replica takes part in the election
	watchdog *leaderelection.HealthzAdaptor
	work     func(context.Context) error // runs while this replica leads
}

var errLeaseLost = errors.New("the Lease was lost: another replica takes over")

// leases returns a client that is only for the Lease. Its requests do not wait behind the
// controller's, and have a timeout, so that an unanswered one does not keep a replica from
// leading, or from giving up in time.
func (o *options) leases(config *rest.Config) (coordinationv1client.LeasesGetter, error) {
	own := rest.CopyConfig(config)
	own.Timeout = o.leaseRenewDeadline / 2
	client, err := coordinationv1client.NewForConfig(own)
	if err != nil {
		return nil, fmt.Errorf("create the client for the Lease: %w", err)
	}
	return client, nil
}

// watchedLock ends the work as soon as the Lease turns out to be another replica's. The
// elector alone would continue for --lease-renew-deadline, trying to get it back.
type watchedLock struct {
	resourcelock.Interface
	leading <-chan struct{} // closed when this replica leads
	lost    func()
}

// Get implements resourcelock.Interface.
func (l watchedLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	select {
	case <-l.leading:
		if err == nil && record.HolderIdentity != l.Identity() {
			l.lost()
		}
	default:
	}
	return record, raw, err
}

// elect runs the work while this replica holds the Lease. When ctx ends it stops the work
// before it releases the Lease, so that two replicas never work at the same time. It returns
// nil after a stop, and errLeaseLost if another replica got the Lease.
func (o *options) elect(ctx context.Context, e election) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("host name as the identity in the Lease: %w", err)
	}
	id := host + "_" + string(uuid.NewUUID())
	electing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var working sync.WaitGroup
	var result error // of the work
	leading := make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: watchedLock{leading: leading, lost: stop, Interface: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: o.leaseName}, Client: e.leases,
			LockConfig: resourcelock.ResourceLockConfig{Identity: id},
		}},
		LeaseDuration: o.leaseDuration, RenewDeadline: o.leaseRenewDeadline, RetryPeriod: o.leaseRetry,
		ReleaseOnCancel: true, Name: o.leaseName, WatchDog: e.watchdog,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(lease context.Context) {
				defer working.Done()
				defer stop()
				close(leading)
				work, cancel := context.WithCancel(lease)
				defer cancel()
				defer context.AfterFunc(ctx, cancel)()
				e.log.Info("leading", zap.String("id", id))
				result = e.work(work)
			},
			OnStoppedLeading: func() {},
			OnNewLeader:      func(leader string) { e.log.Info("leader", zap.String("id", leader)) },
		},
	})
	if err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	e.ready.Store(true)
	defer context.AfterFunc(ctx, func() {
		select {
		case <-leading: // the work must end first
		default:
			stop()
		}
	})()
	working.Add(1)
	elector.Run(electing)
	select {
	case <-leading:
		working.Wait()
	default: // it never led; if it starts to at this moment, ctx has ended
	}
	if ctx.Err() != nil {
		return ignoreCancelled(ctx, result)
	}
	if result != nil && !errors.Is(result, context.Canceled) {
		return result
	}
	return errLeaseLost
}
