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

// lasting are visits to the app that last: downloads, and WebSockets over which
// something is said and echoed all the time. One of each begins at every host every
// few seconds; those that find the page there come to nothing.
type lasting struct {
	end func() // all visits have ended

	mu     sync.Mutex
	visits []lastingVisit
}

// lastingVisit is one that began on the app.
type lastingVisit struct {
	what, host   string
	began, ended time.Time
	err          error // it was cut, or something was missing or wrong
}

const (
	lastingFor   = 30 // seconds; Traefik by default ends requests after 60
	lastingEvery = 3 * time.Second
	echoEvery    = 250 * time.Millisecond
	echoWithin   = 10 * time.Second
)

// errPage: the visitor got the page in place of the app, and went away.
var errPage = errors.New("the page is shown")

// linger begins visits that last.
func (w *world) linger(hosts ...string) *lasting {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	l := &lasting{}
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(lastingEvery)
		defer tick.Stop()
		for {
			for _, host := range hosts {
				all.Go(func() { l.visit(ctx, "download", host, download) })
				all.Go(func() { l.visit(ctx, "WebSocket", host, converse) })
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	l.end = sync.OnceFunc(func() { cancel(); all.Wait() })
	w.Cleanup(l.end)
	return l
}

// visit makes one. The end of the test ends it without harm.
func (l *lasting) visit(ctx context.Context, what, host string, do func(ctx context.Context, host string) error) {
	v := lastingVisit{what: what, host: host, began: time.Now()}
	v.err = do(ctx, host)
	v.ended = time.Now()
	if errors.Is(v.err, errPage) {
		return
	}
	if ctx.Err() != nil {
		v.err = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.visits = append(l.visits, v)
}

// judge tells of the visits, once they have ended, which went wrong, and how many
// lived through a switch.
func (l *lasting) judge(switches []time.Time) (wrong []string, lived map[string]int) {
	lived = map[string]int{}
	for _, v := range l.visits {
		if v.err != nil {
			wrong = append(wrong, fmt.Sprintf("%s from %s, cut at %s after %s: %v", v.what, v.host, v.ended.Format(clock), v.ended.Sub(v.began), v.err))
			continue
		}
		for _, at := range switches {
			if v.began.Before(at) && v.ended.After(at) {
				lived[v.what]++
				break
			}
		}
	}
	return wrong, lived
}

// patientClient is bounded by its requests alone.
var patientClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// fromPageOr is errPage if the page has answered, and else says that the answer is
// neither the app's nor the page's.
func fromPageOr(resp *http.Response, err error) error {
	switch {
	case resp != nil && resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get(page.MarkerHeader) != "":
		return errPage
	case err != nil:
		return err
	}
	return fmt.Errorf("neither the app nor the page: %s", resp.Status)
}

// download reads all of one, and checks that nothing is missing.
func download(ctx context.Context, host string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/download?seconds=%d", site.TraefikURL(), lastingFor), nil)
	if err != nil {
		return err
	}
	req.Host = host
	resp, err := patientClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fromPageOr(resp, nil)
	}
	lines := bufio.NewScanner(resp.Body)
	for n := 0; lines.Scan(); n++ {
		if lines.Text() == "end" {
			return nil
		}
		if want := fmt.Sprintf("line %d", n); lines.Text() != want {
			return fmt.Errorf("%q came in place of %q", lines.Text(), want)
		}
	}
	return errors.Join(errors.New("the end did not come"), lines.Err())
}

// converse says something over a WebSocket, again and again, and wants to hear it.
func converse(ctx context.Context, host string) error {
	url := strings.Replace(site.TraefikURL(), "http", "ws", 1) + "/socket"
	socket, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: patientClient, Host: host})
	if err != nil {
		return fromPageOr(resp, err)
	}
	defer func() { _ = socket.CloseNow() }()
	over := time.NewTimer(lastingFor * time.Second)
	defer over.Stop()
	tick := time.NewTicker(echoEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		if err := echoed(ctx, socket, fmt.Sprintf("word %d", n)); err != nil {
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

func echoed(ctx context.Context, socket *websocket.Conn, word string) error {
	ctx, cancel := context.WithTimeout(ctx, echoWithin)
	defer cancel()
	if err := socket.Write(ctx, websocket.MessageText, []byte(word)); err != nil {
		return err
	}
	_, heard, err := socket.Read(ctx)
	if err == nil && string(heard) != word {
		err = fmt.Errorf("%q came in place of %q", heard, word)
	}
	return err
}
