// Command lasting-app is an app with visits that last: /download sends a line every
// tenth of a second for as long as ?seconds= says, and /socket echoes what comes
// over a WebSocket; /ask tells what another app answers at ?url=. Everywhere else it
// greets, as the sample app does.
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
		fmt.Fprintf(w, "hello from lasting-app: %s %s\n", r.Method, r.URL.Path)
	})
	server := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // those who are here still are no loss
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, "lasting-app:", err)
		os.Exit(1)
	}
}

// askAnother asks as apps do that call each other.
func askAnother(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.FormValue("url"), nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req.Close = true // the next time, the name is looked up again
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body) // who asked has gone
}

// interval between two lines of a download.
const interval = 100 * time.Millisecond

// download sends "line 0", "line 1", … and at last "end".
func download(w http.ResponseWriter, r *http.Request) {
	seconds, err := strconv.Atoi(r.FormValue("seconds"))
	if err != nil {
		http.Error(w, "?seconds= is how long it lasts", http.StatusBadRequest)
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

func echo(w http.ResponseWriter, r *http.Request) {
	socket, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it has answered
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
