// Package part runs the parts of a program concurrently: servers in every replica, and writers in
// the replica that leads.
package part

import (
	"context"
	"errors"
	"sync"
)

// Part is something that a program runs concurrently with others.
type Part struct {
	// Leader is true for parts that only the replica holding the Lease runs, which are all parts
	// that write. The others run in every replica.
	Leader bool
	// Run works until ctx ends. An error ends the program.
	Run func(ctx context.Context) error
}

// Run runs the parts. lead calls work while this replica leads. When ctx ends, the leader's parts
// stop first: probes and metrics are served until they have stopped. The first error ends all parts
// and is returned.
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
		err := runAll(serving, everywhere)
		stop() // a replica without its servers must not lead
		served <- err
	}()
	err := lead(working, func(ctx context.Context) error { return runAll(ctx, leaders) })
	end()
	return errors.Join(<-served, err)
}

// runAll runs parts concurrently, and returns when all have stopped. The first failure stops the
// others.
func runAll(ctx context.Context, parts []Part) error {
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

// AlwaysLead is the lead function of a program without other replicas.
func AlwaysLead(ctx context.Context, work func(context.Context) error) error { return work(ctx) }
