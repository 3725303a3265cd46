package pageapp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/bypass"
)

// doors are the ports of a page set with access settings, one for each app behind the page.
// Without settings they are nil, and there is only the page.
type doors struct {
	*bypass.Server
	byPort map[int]*bypass.Door
	port   func(access.Door) int // the port of a door; tests choose their own
}

func newDoors(settings access.Settings, o options, page http.Handler, logger *zap.Logger) *doors {
	if !settings.Any() {
		return nil
	}
	config := bypass.Config{Settings: settings, PageSet: o.pageSet, Page: page, Lifetime: o.cookieLifetime, ErrorLog: debugLog(logger)}
	if o.accessLog {
		config.Log = bypassLog(logger)
	}
	d := &doors{Server: bypass.New(config), byPort: map[int]*bypass.Door{}, port: access.Door.ContainerPort}
	if o.doorPort != nil {
		d.port = o.doorPort
	}
	return d
}

// listen opens the page's address and a port for each door. If one of them fails it closes
// the others, so that the page is ready only if all doors are.
func (d *doors) listen(ctx context.Context, address string) ([]net.Listener, error) {
	first, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	all := []net.Listener{first}
	if d == nil {
		return all, nil
	}
	host, _, err := net.SplitHostPort(address)
	for _, door := range d.Doors() {
		var l net.Listener
		if err == nil {
			l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(d.port(door.Door))))
		}
		if err != nil {
			for _, open := range all {
				_ = open.Close()
			}
			return nil, fmt.Errorf("listen for door %s: %w", door.Name, err)
		}
		all = append(all, l)
		d.byPort[portOf(l.Addr())] = door
	}
	return all, nil
}

// handler passes a request to the door whose port it came through, or else to the page.
func (d *doors) handler(page http.Handler) http.Handler {
	if d == nil {
		return page
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if door := d.byPort[portOf(local)]; door != nil {
			door.ServeHTTP(w, r)
			return
		}
		page.ServeHTTP(w, r)
	})
}

func portOf(address net.Addr) int {
	if tcp, ok := address.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// stopTime is how long requests may continue after the drain; zero means httpserve's default.
func (d *doors) stopTime() time.Duration {
	if d == nil {
		return 0
	}
	return access.StopTime
}

func (d *doors) drain() {
	if d != nil {
		d.Drain()
	}
}

// follow reads the tokens, and returns a function that keeps them up to date.
func (d *doors) follow(dir string) func(context.Context) error {
	if d == nil {
		return func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		}
	}
	return d.Follow(dir)
}

func (d *doors) writeMetrics(w io.Writer) {
	if d != nil {
		d.WriteMetrics(w)
	}
}

// route adds the path where the controller asks who was let through and what fails.
func (d *doors) route(mux *http.ServeMux) {
	if d == nil {
		return
	}
	mux.HandleFunc("GET "+access.SummaryPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(d.Summary()) // an error means that the client has gone away
	})
}

// bypassLog writes a line for each request that was let through.
func bypassLog(logger *zap.Logger) func(bypass.Entry) {
	return func(e bypass.Entry) {
		logger.Info("let through",
			zap.String("remote", e.Remote), zap.String("protocol", e.Protocol), zap.String("method", e.Method),
			zap.String("host", e.Host), zap.String("path", e.Path), zap.Int("status", e.Status),
			zap.String("door", e.Door), zap.String("by", string(e.By)), zap.String("holder", e.Holder), zap.String("user-agent", e.UserAgent))
	}
}
