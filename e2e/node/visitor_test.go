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

// format is the content type that a visitor asks for and expects.
type format struct{ accept, contentType string }

var formats = []format{
	{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"}, // a browser
	{"application/json", "application/json"},
	{"application/xml", "application/xml"},
	{"text/plain", "text/plain"},
}

// Who gave an answer.
const (
	nobody = "" // the answer is wrong, or none came
	anApp  = "app"
	// For a page it is the name of its page set.
)

// visit is a request.
type visit struct {
	method, host, path string
	at                 string // base URL; Traefik's if empty
	as                 format
	fresh              bool         // whether to use a new connection
	kept               *http.Client // the client whose connections to reuse otherwise; keepAliveClient if nil
}

// answer is the result of a visit.
type answer struct {
	visit
	due     time.Time // when the request was due; zero outside of a load
	started time.Time // when the request was sent
	took    time.Duration
	from    string // anApp, the name of a page set, or nobody
	body    string
	header  http.Header
	wrong   string // why from is nobody
	status  int    // 0 without an HTTP response
}

func (a answer) String() string {
	conn := "kept"
	if a.fresh {
		conn = "fresh"
	}
	return fmt.Sprintf("%s %s%s as %s on a %s connection at %s, after %s", a.method, a.host, a.path, a.as.contentType, conn, a.started.Format(timeFormat), a.waited().Round(time.Millisecond))
}

// waited returns how long the visitor waited, including the time before a busy machine sent
// the request.
func (a answer) waited() time.Duration {
	if a.due.IsZero() {
		return a.took
	}
	return a.ended().Sub(a.due)
}

func (a answer) ended() time.Time { return a.started.Add(a.took) }

func fromApp(a answer) bool  { return a.from == anApp }
func fromPage(a answer) bool { return a.from != anApp && a.from != nobody }

// from returns a function that reports whether an answer is from a page set.
func from(set string) func(answer) bool { return func(a answer) bool { return a.from == set } }

// Clients that reuse connections, and that use a new one for each request.
var (
	keepAliveClient = client(&http.Transport{MaxIdleConnsPerHost: 100})
	freshClient     = client(&http.Transport{DisableKeepAlives: true})
)

func client(t *http.Transport) *http.Client {
	return &http.Client{
		Transport: t, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask makes a visit and judges the answer.
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
	// If a reused connection breaks, the client silently retries on a new one. That counts as
	// an error, except at a Service, where a deleted Pod breaks its connections.
	connections := 0
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connections++ }}))
	c := cmp.Or(v.kept, keepAliveClient)
	if v.fresh {
		c = freshClient
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	text, err := io.ReadAll(resp.Body)
	if connections > 1 && v.at == "" {
		err = errors.Join(err, errors.New("the connection broke and the client retried"))
	}
	return resp.StatusCode, resp.Header, string(text), errors.Join(err, resp.Body.Close())
}

var setName = regexp.MustCompile(`^maintenance-[0-9a-f]{16}$`)

// checkPage checks everything that the documents promise of a page's answer.
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
			return errors.New("not an HTML document")
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
			return errors.New("the text is empty")
		}
	}
	return nil
}

// untilAnswer visits a host through Traefik until the answer is ok, and returns it.
func (e *env) untilAnswer(host string, ok func(answer) bool) answer {
	e.Helper()
	return e.untilAnswerAt("", host, ok)
}

// untilAnswerAt is untilAnswer with another base URL.
func (e *env) untilAnswerAt(at, host string, ok func(answer) bool) answer {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Context(), waitTimeout)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		a := ask(ctx, visit{method: http.MethodGet, at: at, host: host, path: "/", as: formats[0], fresh: true})
		if ok(a) {
			return a
		}
		select {
		case <-ctx.Done():
			e.Fatalf("%s: the expected answer did not come; the last one is from %q: %s: %s", host, a.from, a, a.wrong)
		case <-tick.C:
		}
	}
}

// requirePage checks the page in all formats and returns its bodies by content type. The
// Retry-After header may exceed retryAfter, in seconds, by a quarter.
func (e *env) requirePage(host, set string, retryAfter int) map[string]string {
	e.Helper()
	bodies := map[string]string{}
	for _, f := range formats {
		for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodGet} {
			a := ask(e.Context(), visit{method: method, host: host, path: "/any/path?and=query", as: f, fresh: method == http.MethodPost})
			require.Equal(e, set, a.from, "%s: %s", a, a.wrong)
			bodies[f.contentType] = a.body
			seconds, _ := strconv.Atoi(a.header.Get("Retry-After"))
			assert.GreaterOrEqual(e, seconds, retryAfter, "Retry-After")
			assert.LessOrEqual(e, seconds, retryAfter*5/4, "Retry-After")
		}
	}
	return bodies
}
