package app

import (
	"context"
	"errors"
	"sync"
)

// part is something that the program runs beside others.
type part struct {
	// leader says that of all replicas only the one that holds the Lease runs it:
	// whatever writes. The others run in each replica.
	leader bool
	// run works until ctx ends. An error ends the program.
	run func(ctx context.Context) error
}

// runParts runs the parts of every replica until ctx ends and the leader's parts,
// which lead runs while this replica leads, have ended: probes and metrics are
// answered until there is nothing left to tell. The first error ends all.
func runParts(ctx context.Context, parts []part, lead func(ctx context.Context, work func(context.Context) error) error) error {
	var everywhere, leaders []part
	for _, p := range parts {
		if p.leader {
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
func together(ctx context.Context, parts []part) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	errs := make([]error, len(parts))
	for i, p := range parts {
		all.Go(func() {
			if errs[i] = p.run(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
