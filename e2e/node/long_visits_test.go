package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"maintenance-controller.io/pkg/page"
)

// longVisits are long-lived visits to the app: downloads, and WebSockets that send messages
// and expect the echo. One of each starts at every host every few seconds. Visits that get
// the page instead are dropped.
type longVisits struct {
	end func() // stops new visits and waits for the end of all

	mu     sync.Mutex
	visits []longVisit
}

// longVisit is a visit that started on the app.
type longVisit struct {
	what, host   string
	began, ended time.Time
	err          error // it was cut off, or data was missing or wrong
}

const (
	longVisitSeconds  = 30 // Traefik by default ends requests after 60 seconds
	longVisitInterval = 3 * time.Second
	echoEvery         = 250 * time.Millisecond
	echoTimeout       = 10 * time.Second
)

// errMaintenancePage means that the visitor got the page instead of the app.
var errMaintenancePage = errors.New("the page is shown")

// startLongVisits keeps starting long visits to the hosts until the test ends.
func (e *env) startLongVisits(hosts ...string) *longVisits {
	ctx, cancel := context.WithCancel(context.WithoutCancel(e.Context()))
	l := &longVisits{}
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(longVisitInterval)
		defer tick.Stop()
		for {
			for _, host := range hosts {
				all.Go(func() { l.visit(ctx, "download", host, download) })
				all.Go(func() { l.visit(ctx, "WebSocket", host, useWebSocket) })
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	l.end = sync.OnceFunc(func() { cancel(); all.Wait() })
	e.Cleanup(l.end)
	return l
}

// visit makes one visit. If the test ends first, that is not an error of the visit.
func (l *longVisits) visit(ctx context.Context, what, host string, do func(ctx context.Context, host string) error) {
	v := longVisit{what: what, host: host, began: time.Now()}
	v.err = do(ctx, host)
	v.ended = time.Now()
	if errors.Is(v.err, errMaintenancePage) {
		return
	}
	if ctx.Err() != nil {
		v.err = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.visits = append(l.visits, v)
}

// judge returns, once all visits have ended, which of them went wrong, and for each kind how
// many survived a switch.
func (l *longVisits) judge(switches []time.Time) (wrong []string, survived map[string]int) {
	survived = map[string]int{}
	for _, v := range l.visits {
		if v.err != nil {
			wrong = append(wrong, fmt.Sprintf("%s from %s failed at %s, after %s: %v", v.what, v.host, v.ended.Format(timeFormat), v.ended.Sub(v.began), v.err))
			continue
		}
		for _, at := range switches {
			if v.began.Before(at) && v.ended.After(at) {
				survived[v.what]++
				break
			}
		}
	}
	return wrong, survived
}

// clientWithoutTimeout has only the time limits of its requests' contexts.
var clientWithoutTimeout = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// pageOr returns errMaintenancePage if the page answered, and otherwise an error that says
// that the answer is from neither the app nor the page.
func pageOr(resp *http.Response, err error) error {
	switch {
	case resp != nil && resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get(page.MarkerHeader) != "":
		return errMaintenancePage
	case err != nil:
		return err
	}
	return fmt.Errorf("neither the app nor the page: %s", resp.Status)
}

// download reads a whole download and checks that no line is missing.
func download(ctx context.Context, host string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/download?seconds=%d", site.TraefikURL(), longVisitSeconds), nil)
	if err != nil {
		return err
	}
	req.Host = host
	resp, err := clientWithoutTimeout.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return pageOr(resp, nil)
	}
	lines := bufio.NewScanner(resp.Body)
	for n := 0; lines.Scan(); n++ {
		if lines.Text() == "end" {
			return nil
		}
		if want := fmt.Sprintf("line %d", n); lines.Text() != want {
			return fmt.Errorf("got %q, want %q", lines.Text(), want)
		}
	}
	return errors.Join(errors.New("the download is cut off"), lines.Err())
}

// useWebSocket keeps sending messages over a WebSocket and checks their echo.
func useWebSocket(ctx context.Context, host string) error {
	url := strings.Replace(site.TraefikURL(), "http", "ws", 1) + "/socket"
	socket, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: clientWithoutTimeout, Host: host})
	if err != nil {
		return pageOr(resp, err)
	}
	defer func() { _ = socket.CloseNow() }()
	over := time.NewTimer(longVisitSeconds * time.Second)
	defer over.Stop()
	tick := time.NewTicker(echoEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		if err := echo(ctx, socket, fmt.Sprintf("word %d", n)); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-over.C:
			return socket.Close(websocket.StatusNormalClosure, "")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func echo(ctx context.Context, socket *websocket.Conn, word string) error {
	ctx, cancel := context.WithTimeout(ctx, echoTimeout)
	defer cancel()
	if err := socket.Write(ctx, websocket.MessageText, []byte(word)); err != nil {
		return err
	}
	_, heard, err := socket.Read(ctx)
	if err == nil && string(heard) != word {
		err = fmt.Errorf("got %q, want %q", heard, word)
	}
	return err
}
