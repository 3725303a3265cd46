package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
)

// memberToken is the bypass token of one member of the team.
const memberToken = "dGhlIHRva2VuIG9mIGFsaWNl"

// twoApps returns an Ingress that routes to two apps.
func twoApps(host string) string {
	return fmt.Sprintf(`apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: one}
spec:
  rules:
    - host: %s
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: my-app, port: {number: 80}}}}
          - {path: /second, pathType: Prefix, backend: {service: {name: other, port: {name: web}}}}
`, host)
}

// askFor returns a function for loadBy whose visitors ask for one path. For a page, answer.wrong
// holds the value of its Maintenance-Bypass header.
func askFor(path string) func(context.Context, visit) answer {
	return func(ctx context.Context, v visit) answer {
		v.path = path
		a := ask(ctx, v)
		if fromPage(a) {
			a.wrong = a.header.Get(access.Header)
		}
		return a
	}
}

// TestBypassUnderLoad tests the bypass behind Traefik: the public gets the page, and visitors
// with an open path, a token or a cookie get the app, also while backends and settings change.
func TestBypassUnderLoad(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.watchSoundness()
	host := e.host("team")
	e.deploy([]string{host}, appOf("my-app", "/streaming-app", ""), app("other"), app("third"), twoApps(host),
		"apiVersion: v1\nkind: Secret\nmetadata: {name: team}\nstringData: {maintenance-bypass-token: \"alice "+memberToken+"\\n\"}\n")
	spec := e.spec("ingress/one")
	const few = 20 // visitors in each phase
	public, second, open := e.loadBy(askFor("/"), 20, "", host), e.loadBy(askFor("/second/x"), 20, "", host), e.loadBy(askFor("/admin/x"), 20, "", host)
	loads := []*load{public, second, open}
	phase := func(name string) {
		for _, l := range loads {
			l.phase(name)
		}
	}
	phase("switching on")
	e.on("ingress/one", annotations.BypassSecret+"=team", annotations.OpenPaths+"=/admin")
	set := e.untilActive(ingresses, "one")
	e.untilAnswer(host, fromPage)
	phase("on")
	e.requireLetThrough(host, set)
	e.until(ingresses, "one", "a report of who was let through", func(u *unstructured.Unstructured) bool {
		return strings.Contains(u.GetAnnotations()[annotations.AccessReport], "let through by token or link: alice, by open path")
	})
	second.await(few)

	// Change a backend during maintenance, then the bypass settings.
	phase("another app")
	e.kubectl("patch", "ingress/one", "--type=json", "-p", `[{"op": "replace", "path": "/spec/rules/0/http/paths/1/backend", "value": {"service": {"name": "third", "port": {"name": "web"}}}}]`)
	next := e.untilOnOther(set)
	e.untilAnswer(host, from(next))
	phase("on with another app")
	e.requireLetThrough(host, next)
	second.await(few)
	phase("becoming read-only")
	e.kubectl("annotate", "ingress/one", annotations.ReadOnly+"=true")
	last := e.untilOnOther(next)
	e.untilAnswer(host, fromApp) // until Traefik follows, requests that read get the page as well
	phase("read-only")
	get, post := e.send(http.MethodGet, host, "/", nil), e.send(http.MethodPost, host, "/", nil)
	require.Equal(e, "method", get.header.Get(access.Header), "%d %s", get.status, get.body)
	require.Equal(e, anApp, get.from)
	assert.Equal(e, last, post.from, "requests that write get the page")
	second.await(few)

	phase("switching off")
	e.off("ingress/one")
	e.until(ingresses, "one", "restored", restored)
	e.untilAnswer(host, fromApp)
	for _, l := range loads {
		l.stop()
	}
	public.assertOnly("another app", fromPage)
	for _, l := range []*load{public, second} {
		l.assertOnly("on", fromPage)
		l.assertOnly("on with another app", fromPage)
	}
	for _, name := range []string{"switching on", "on", "another app", "on with another app", "becoming read-only", "read-only", "switching off"} {
		e.assertNone("answers to an open path that are not from the app, while "+name, notFromApp(open.answersIn(name)))
	}
	assert.Equal(e, strings.ReplaceAll(spec, "other", "third"), e.spec("ingress/one"))
}

// untilOnOther waits until the Ingress is active on another page set than set, and returns its name.
func (e *env) untilOnOther(set string) (next string) {
	e.Helper()
	return e.until(ingresses, "one", "another page set, active", func(u *unstructured.Unstructured) bool {
		return active(u) && u.GetAnnotations()[annotations.PageSet] != set
	}).GetAnnotations()[annotations.PageSet]
}

// notFromApp lists the answers that are not from the app. An open path also lets POST through.
func notFromApp(answers []answer) (wrong []string) {
	for _, a := range answers {
		if a.from != anApp {
			wrong = append(wrong, fmt.Sprintf("%s: from %q: %s", a, a.from, a.wrong))
		}
	}
	return wrong
}

// send makes one request with headers.
func (e *env) send(method, host, path string, header http.Header) answer {
	e.Helper()
	req, err := http.NewRequestWithContext(e.Context(), method, site.TraefikURL()+path, http.NoBody)
	require.NoError(e, err)
	req.Host, req.Header = host, header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	resp, err := freshClient.Do(req)
	require.NoError(e, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(e, err)
	require.NoError(e, resp.Body.Close())
	a := answer{visit: visit{method: method, host: host, path: path}, status: resp.StatusCode, header: resp.Header, body: string(body)}
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		a.from = resp.Header.Get(page.MarkerHeader)
	case resp.StatusCode == http.StatusOK && strings.HasPrefix(a.body, "hello from "):
		a.from = anApp
	}
	return a
}

// requireLetThrough checks each way to bypass the page, and that the public gets it.
func (e *env) requireLetThrough(host, set string) {
	e.Helper()
	token := http.Header{access.Header: {memberToken}}
	for name, tc := range map[string]struct {
		path   string
		header http.Header
		by     string // what let the request through; empty if it must get the page
	}{
		"the public":         {path: "/"},
		"a wrong token":      {path: "/", header: http.Header{access.Header: {"x" + memberToken}}},
		"a made-up cookie":   {path: "/", header: http.Header{"Cookie": {access.CookieName("team") + "=alice.1.x"}}},
		"an open path":       {path: "/admin/users", by: "path"},
		"a path that begins": {path: "/administration"},
		"a path trick":       {path: "/admin/..%2f"},
		"a token":            {path: "/", header: token, by: "header"},
		"a token elsewhere":  {path: "/second", header: token, by: "header"},
		"a cookie":           {path: "/", header: http.Header{"Cookie": {e.cookie(host)}}, by: "cookie"},
	} {
		a := e.send(http.MethodGet, host, tc.path, tc.header)
		if tc.by == "" {
			require.Equal(e, set, a.from, "%s: %d %.80s", name, a.status, a.body)
			require.NotEmpty(e, a.header.Get("Retry-After"), name)
			require.Equal(e, "no-store", a.header.Get("Cache-Control"), name)
			continue
		}
		require.Equal(e, anApp, a.from, "%s: %d %.80s", name, a.status, a.body)
		require.Equal(e, tc.by, a.header.Get(access.Header), name)
		if tc.by != "path" {
			require.Contains(e, a.header.Get("Cache-Control"), "no-store", name)
		}
	}
	e.requireSocket(host)
}

// cookie returns the cookie that the bypass link sets for the token.
func (e *env) cookie(host string) string {
	e.Helper()
	a := e.send(http.MethodPost, host, "/any/path?maintenance-bypass", http.Header{access.Header: {memberToken}, "Sec-Fetch-Site": {"same-origin"}, "Origin": {"http://" + host}})
	require.Equal(e, http.StatusNoContent, a.status, a.body)
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	require.NotEmpty(e, cookie)
	return cookie
}

// requireSocket checks that a visitor with the cookie can open a WebSocket to the app, and
// that the public cannot.
func (e *env) requireSocket(host string) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Context(), 20*time.Second)
	defer cancel()
	dial := func(header http.Header) (*websocket.Conn, error) {
		socket, resp, err := websocket.Dial(ctx, site.TraefikURL()+"/socket", &websocket.DialOptions{Host: host, HTTPHeader: header, HTTPClient: clientWithoutTimeout})
		if resp != nil && resp.Body != nil && err != nil {
			_ = resp.Body.Close()
		}
		return socket, err
	}
	_, err := dial(nil)
	require.Error(e, err, "the public")
	socket, err := dial(http.Header{"Cookie": {e.cookie(host)}})
	require.NoError(e, err)
	defer func() { _ = socket.CloseNow() }()
	require.NoError(e, socket.Write(ctx, websocket.MessageText, []byte("hello")))
	_, said, err := socket.Read(ctx)
	require.NoError(e, err)
	require.Equal(e, "hello", string(said))
}
