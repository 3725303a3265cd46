package binaries

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
)

// Order is what Make makes.
type Order struct {
	Programs []Program
	Own      []Own // each with its Target; they are built each time
	Packages bool  // those of Packages
}

// Time is how long a part of an order took.
type Time struct {
	Part string
	Took time.Duration
}

// Build makes the programs that the cache does not hold yet.
func (c *Cache) Build(ctx context.Context, programs ...Program) error {
	_, err := c.Make(ctx, Order{Programs: programs})
	return err
}

// Make makes what the cache does not hold yet, and says how long each part took. Parts
// are built side by side where there are cores for it. The modules of later parts are
// downloaded while earlier ones are compiled.
func (c *Cache) Make(ctx context.Context, o Order) ([]Time, error) {
	missing, err := c.missing(o.Programs)
	if err != nil {
		return nil, err
	}
	parts, err := c.plan(missing)
	if err != nil {
		return nil, err
	}
	if len(o.Own) > 0 {
		parts = append([]part{ownPart(o.Own)}, parts...)
	}
	all, ctx := errgroup.WithContext(ctx)
	if o.Packages {
		all.Go(func() error {
			_, err := c.Packages(ctx)
			return err
		})
	}
	b := newBoard(c.screen, parts, runtime.NumCPU())
	all.Go(func() error { return makeParts(ctx, parts, b) })
	err = all.Wait()
	return b.times(), err
}

func makeParts(ctx context.Context, parts []part, b *board) error {
	if len(parts) == 0 {
		return nil
	}
	b.announce()
	defer b.show()()
	fetched := make([]chan struct{}, len(parts))
	for i := range parts {
		fetched[i] = make(chan struct{})
	}
	// Without its result a build downloads what it needs itself: an error is its to report.
	go func() {
		known := map[string]bool{}
		for i, p := range parts {
			b.fetch(ctx, i, p, known)
			close(fetched[i])
		}
	}()
	builds, ctx := errgroup.WithContext(ctx)
	builds.SetLimit(sideBySide(b.cores))
	for i, p := range parts {
		builds.Go(func() error {
			select {
			case <-fetched[i]:
			case <-ctx.Done():
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			b.begin(i)
			if err := p.build(ctx, func(line string) { b.saw(i, line) }); err != nil {
				return fmt.Errorf("build %s: %w", p.name, err)
			}
			b.end(i)
			return nil
		})
	}
	return builds.Wait()
}
