package part

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// standing waits for the Lease until ctx ends.
func standing(ctx context.Context, _ func(context.Context) error) error {
	<-ctx.Done()
	return nil
}

func TestServersStopAfterTheLeader(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var ended []string
	until := func(name string, leader bool) Part {
		return Part{Leader: leader, Run: func(ctx context.Context) error {
			<-ctx.Done()
			ended = append(ended, name)
			return nil
		}}
	}
	stop()
	require.NoError(t, Run(ctx, []Part{until("server", false), until("controller", true)}, AlwaysLead))
	assert.Equal(t, []string{"controller", "server"}, ended)
}

func TestStandbyServes(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	served := false
	server := Part{Run: func(ctx context.Context) error {
		served = true
		stop()
		<-ctx.Done()
		return nil
	}}
	writer := Part{Leader: true, Run: func(context.Context) error { return errors.New("it does not lead") }}
	require.NoError(t, Run(ctx, []Part{server, writer}, standing))
	assert.True(t, served)
}

func TestFailureStopsAllParts(t *testing.T) {
	fails := func(leader bool) Part {
		return Part{Leader: leader, Run: func(context.Context) error { return errors.New("address in use") }}
	}
	waits := func(leader bool) Part {
		return Part{Leader: leader, Run: func(ctx context.Context) error { <-ctx.Done(); return nil }}
	}
	for name, parts := range map[string][]Part{
		"a server ends the work":       {fails(false), waits(true)},
		"the work ends the servers":    {waits(false), fails(true)},
		"a server ends another server": {fails(false), waits(false), waits(true)},
	} {
		t.Run(name, func(t *testing.T) {
			assert.ErrorContains(t, Run(t.Context(), parts, AlwaysLead), "address in use")
		})
	}
}
