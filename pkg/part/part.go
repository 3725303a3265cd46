// Package part runs the parts of a program side by side: what serves in every replica,
// and what works in the one that leads.
package part

import (
	"context"
	"errors"
	"sync"
)

// Part is something that a program runs beside others.
type Part struct {
	// Leader says that of all replicas only the one that holds the Lease runs it:
	// whatever writes. The others run in each replica.
	Leader bool
	// Run works until ctx ends. An error ends the program.
	Run func(ctx context.Context) error
}

// Run runs the parts of every replica until ctx ends and the leader's parts,
// which lead runs for as long as this replica leads, have ended: probes and metrics are
// answered until there is nothing left to tell. The first error ends all.
func Run(ctx context.Context, parts []Part, lead func(ctx context.Context, work func(context.Context) error) error) error {
	var everywhere, leaders []Part
	for _, p := range parts {
		if p.Leader {
			leaders = append(leaders, p)
		} else {
			everywhere = append(everywhere, p)
		}
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	served := make(chan error, 1)
	go func() {
		err := together(serving, everywhere)
		stop() // without them nobody should lead
		served <- err
	}()
	err := lead(working, func(ctx context.Context) error { return together(ctx, leaders) })
	end()
	return errors.Join(<-served, err)
}

// together runs parts side by side, and returns when all have ended. The first to
// fail ends the others.
func together(ctx context.Context, parts []Part) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	errs := make([]error, len(parts))
	for i, p := range parts {
		all.Go(func() {
			if errs[i] = p.Run(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// Alone is the lead of a program that has no other replicas.
func Alone(ctx context.Context, work func(context.Context) error) error { return work(ctx) }
