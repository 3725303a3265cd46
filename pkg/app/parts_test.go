package app

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// leading runs the work at once, as a replica does that gets the Lease.
func leading(ctx context.Context, work func(context.Context) error) error { return work(ctx) }

// standing waits for the Lease until ctx ends.
func standing(ctx context.Context, _ func(context.Context) error) error {
	<-ctx.Done()
	return nil
}

func TestServersOutliveTheWork(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var ended []string
	until := func(name string, leader bool) part {
		return part{leader: leader, run: func(ctx context.Context) error {
			<-ctx.Done()
			ended = append(ended, name)
			return nil
		}}
	}
	stop()
	require.NoError(t, runParts(ctx, []part{until("server", false), until("controller", true)}, leading))
	assert.Equal(t, []string{"controller", "server"}, ended)
}

func TestAReplicaThatStandsByServes(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	served := false
	server := part{run: func(ctx context.Context) error {
		served = true
		stop()
		<-ctx.Done()
		return nil
	}}
	writer := part{leader: true, run: func(context.Context) error { return errors.New("it does not lead") }}
	require.NoError(t, runParts(ctx, []part{server, writer}, standing))
	assert.True(t, served)
}

func TestAPartThatFailsEndsTheOthers(t *testing.T) {
	fails := func(leader bool) part {
		return part{leader: leader, run: func(context.Context) error { return errors.New("address in use") }}
	}
	waits := func(leader bool) part {
		return part{leader: leader, run: func(ctx context.Context) error { <-ctx.Done(); return nil }}
	}
	for name, parts := range map[string][]part{
		"a server ends the work":       {fails(false), waits(true)},
		"the work ends the servers":    {waits(false), fails(true)},
		"a server ends another server": {fails(false), waits(false), waits(true)},
	} {
		t.Run(name, func(t *testing.T) {
			assert.ErrorContains(t, runParts(t.Context(), parts, leading), "address in use")
		})
	}
}
