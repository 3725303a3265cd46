package node

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/page"
)

// format is what a visitor asks for and gets.
type format struct{ accept, contentType string }

var formats = []format{
	{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"}, // a browser
	{"application/json", "application/json"},
	{"application/xml", "application/xml"},
	{"text/plain", "text/plain"},
}

// Who answers.
const (
	nobody = ""
	anApp  = "app"
	// A page is told by the name of its set.
)

// visit is a request, and answer what came of it.
type visit struct {
	method, host, path string
	at                 string // where it is asked; Traefik if empty
	as                 format
	fresh              bool         // a connection of its own
	kept               *http.Client // whose connections it uses if not; browser's if nil
}

type answer struct {
	visit
	due     time.Time // when the visitor came; zero unless of a load
	started time.Time // when he could be sent
	took    time.Duration
	from    string // anApp, the name of a page set, or nobody
	body    string
	header  http.Header
	wrong   string // what is wrong with it, if from is nobody
	status  int    // 0 if there was none
}

func (a answer) String() string {
	conn := "kept"
	if a.fresh {
		conn = "fresh"
	}
	return fmt.Sprintf("%s %s%s as %s on a %s connection at %s, after %s", a.method, a.host, a.path, a.as.contentType, conn, a.started.Format("15:04:05.000"), a.waited().Round(time.Millisecond))
}

// waited is how long the visitor had to, also for a machine that was too busy to
// send him when he came.
func (a answer) waited() time.Duration {
	if a.due.IsZero() {
		return a.took
	}
	return a.ended().Sub(a.due)
}

func (a answer) ended() time.Time { return a.started.Add(a.took) }

func fromApp(a answer) bool  { return a.from == anApp }
func fromPage(a answer) bool { return a.from != anApp && a.from != nobody }

// from tells answers of one page set.
func from(set string) func(answer) bool { return func(a answer) bool { return a.from == set } }

// browser keeps connections; passer-by does not.
var (
	browser  = client(&http.Transport{MaxIdleConnsPerHost: 100})
	passerBy = client(&http.Transport{DisableKeepAlives: true})
)

func client(t *http.Transport) *http.Client {
	return &http.Client{
		Transport: t, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask visits the site through Traefik.
func ask(ctx context.Context, v visit) answer {
	a := answer{visit: v, started: time.Now()}
	status, header, body, err := exchange(ctx, v)
	a.took, a.body, a.header, a.status = time.Since(a.started), body, header, status
	switch set := header.Get(page.MarkerHeader); {
	case err != nil:
		a.wrong = err.Error()
	case status == http.StatusOK && set == "" && strings.HasPrefix(body, "hello from "):
		a.from = anApp
	case set == "" || status != http.StatusServiceUnavailable:
		a.wrong = fmt.Sprintf("neither the app nor the page: %d, %s %q: %.80q", status, page.MarkerHeader, set, body)
	default:
		if err := checkPage(v, header, body); err != nil {
			a.wrong = "a wrong page: " + err.Error()
		} else {
			a.from = set
		}
	}
	return a
}

func exchange(ctx context.Context, v visit) (status int, _ http.Header, body string, err error) {
	var content io.Reader
	if v.method == http.MethodPost {
		content = strings.NewReader(`{"order": 1}`)
	}
	req, err := http.NewRequestWithContext(ctx, v.method, cmp.Or(v.at, site.TraefikURL())+v.path, content)
	if err != nil {
		return 0, nil, "", err
	}
	req.Host = v.host
	req.Header.Set("Accept", v.as.accept)
	// A client asks again by itself when the connection that it kept breaks. Whoever
	// breaks one must not be let off; at a Service, that may be a Pod that has gone.
	connections := 0
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connections++ }}))
	c := cmp.Or(v.kept, browser)
	if v.fresh {
		c = passerBy
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	text, err := io.ReadAll(resp.Body)
	if connections > 1 && v.at == "" {
		err = errors.Join(err, errors.New("the connection broke, and the client asked again"))
	}
	return resp.StatusCode, resp.Header, string(text), errors.Join(err, resp.Body.Close())
}

var setName = regexp.MustCompile(`^maintenance-[0-9a-f]{16}$`)

// checkPage looks at everything that is promised of a page's answer.
func checkPage(v visit, h http.Header, body string) error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(setName.MatchString(h.Get(page.MarkerHeader)), "%s is %q", page.MarkerHeader, h.Get(page.MarkerHeader))
	media, parameters, err := mime.ParseMediaType(h.Get("Content-Type"))
	want(err == nil && media == v.as.contentType, "Content-Type is %q", h.Get("Content-Type"))
	if charset := parameters["charset"]; charset != "" {
		want(strings.EqualFold(charset, "utf-8"), "charset is %q", charset)
	}
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	want(err == nil && seconds > 0, "Retry-After is %q", h.Get("Retry-After"))
	want(h.Get("Cache-Control") == "no-store", "Cache-Control is %q", h.Get("Cache-Control"))
	want(strings.Contains(h.Get("Vary"), "Accept"), "Vary is %q", h.Get("Vary"))
	want(h.Get("X-Content-Type-Options") == "nosniff", "X-Content-Type-Options is %q", h.Get("X-Content-Type-Options"))
	if v.method == http.MethodHead {
		want(body == "", "HEAD has a body: %.80q", body)
	} else if err := checkBody(v.as.contentType, body); err != nil {
		errs = append(errs, fmt.Errorf("body %.80q: %w", body, err))
	}
	return errors.Join(errs...)
}

func checkBody(contentType, body string) error {
	switch contentType {
	case "text/html":
		if !strings.HasPrefix(strings.ToLower(body), "<!doctype html>") || !strings.Contains(body, "<h1>") {
			return errors.New("no HTML document")
		}
	case "application/json":
		var members map[string]any
		return json.Unmarshal([]byte(body), &members)
	case "application/xml":
		for d := xml.NewDecoder(strings.NewReader(body)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	default:
		if strings.TrimSpace(body) == "" {
			return errors.New("no text")
		}
	}
	return nil
}

// arrives visits a host until the answer is as it should be.
func (w *world) arrives(host string, ok func(answer) bool) answer {
	w.Helper()
	return w.arrivesAt("", host, ok)
}

func (w *world) arrivesAt(at, host string, ok func(answer) bool) answer {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		a := ask(ctx, visit{method: http.MethodGet, at: at, host: host, path: "/", as: formats[0], fresh: true})
		if ok(a) {
			return a
		}
		select {
		case <-ctx.Done():
			w.Fatalf("%s: the answer did not come; it is from %q: %s: %s", host, a.from, a, a.wrong)
		case <-tick.C:
		}
	}
}

// requirePage looks at the page in all its formats, now, and gives the bodies by
// content type. A page's waiting time is spread over a quarter more.
func (w *world) requirePage(host, set string, retryAfter int) map[string]string {
	w.Helper()
	bodies := map[string]string{}
	for _, f := range formats {
		for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodGet} {
			a := ask(w.Context(), visit{method: method, host: host, path: "/any/path?and=query", as: f, fresh: method == http.MethodPost})
			require.Equal(w, set, a.from, "%s: %s", a, a.wrong)
			bodies[f.contentType] = a.body
			seconds, _ := strconv.Atoi(a.header.Get("Retry-After"))
			assert.GreaterOrEqual(w, seconds, retryAfter, "Retry-After")
			assert.LessOrEqual(w, seconds, retryAfter*5/4, "Retry-After")
		}
	}
	return bodies
}
