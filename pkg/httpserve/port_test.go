package httpserve

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPort(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	require.ErrorContains(t, Port{Flag: "listen", Address: "127.0.0.1:http-no"}.Run(ctx), "--listen")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	require.ErrorContains(t, Port{Flag: "listen", Address: taken.Addr().String()}.Run(ctx), "address already in use")
	ended := make(chan error)
	go func() {
		ended <- Port{Flag: "listen", Address: "127.0.0.1:0", Handler: http.NotFoundHandler()}.Run(ctx)
	}()
	none := make(chan error)
	go func() { none <- Port{Flag: "listen"}.Run(ctx) }()
	stop()
	require.NoError(t, <-ended)
	require.NoError(t, <-none)
}

// TestPortMemoryIsBounded: clients that reach the page Pods may reach their metrics port as well, and
// must not be able to use up the memory that the page needs.
func TestPortMemoryIsBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	const memory = 4 << 20
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	answers := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	go func() {
		ended <- Port{Flag: "listen", Handler: answers, Memory: memory, AnswerTimeout: time.Minute}.Serve(ctx, l)
	}()
	defer func() {
		stop()
		require.NoError(t, <-ended)
	}()
	const opened, kept = 200, memory / connCost
	closed := make(chan struct{}, opened)
	for range opened {
		c, err := net.Dial("tcp", address)
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		go func() {
			_, _ = c.Read(make([]byte, 1))
			closed <- struct{}{}
		}()
	}
	for range opened - kept {
		select {
		case <-closed:
		case <-time.After(20 * time.Second):
			t.Fatalf("more than %d connections are kept", kept)
		}
	}
	response, err := http.Get("http://" + address + "/metrics")
	for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); { // closing the others takes a moment
		response, err = http.Get("http://" + address + "/metrics")
	}
	require.NoError(t, err)
	_ = response.Body.Close()
}
