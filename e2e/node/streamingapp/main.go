// Command streaming-app is an app with long-lived visits: /download sends a line every tenth
// of a second for ?seconds=, and /socket echoes messages over a WebSocket. /ask requests ?url=
// from another app and returns its answer. All other paths answer with a greeting, as the
// sample app does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /download", download)
	mux.HandleFunc("GET /socket", echo)
	mux.HandleFunc("GET /ask", askAnother)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from streaming-app: %s %s\n", r.Method, r.URL.Path)
	})
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // open visits are cut off
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, "streaming-app:", err)
		os.Exit(1)
	}
}

// askAnother calls another app and passes its answer on.
func askAnother(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.FormValue("url"), nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req.Close = true // so that the next request resolves the name again
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body) // fails only if the client is gone
}

// interval is the time between two lines of a download.
const interval = 100 * time.Millisecond

// download sends "line 0", "line 1", … and finally "end".
func download(w http.ResponseWriter, r *http.Request) {
	seconds, err := strconv.Atoi(r.FormValue("seconds"))
	if err != nil {
		http.Error(w, "?seconds= must be a number of seconds", http.StatusBadRequest)
		return
	}
	flush := http.NewResponseController(w)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := range seconds * int(time.Second/interval) {
		if _, err := fmt.Fprintf(w, "line %d\n", n); err != nil || flush.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
	fmt.Fprintln(w, "end")
}

// echo sends each WebSocket message back.
func echo(w http.ResponseWriter, r *http.Request) {
	socket, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has already answered
	}
	defer func() { _ = socket.CloseNow() }()
	for {
		kind, message, err := socket.Read(r.Context())
		if err != nil {
			return
		}
		if err := socket.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}
