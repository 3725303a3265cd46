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

// member is somebody of the team, with a token of the Secret.
const memberToken = "dGhlIHRva2VuIG9mIGFsaWNl"

// twoApps is an Ingress with two apps.
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

// askFor is a load of visitors of one path. Who gets the page may be told why.
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

// TestTheTeamStaysIn behind Traefik and under load: the public gets the page, and an open
// path, a token and a cookie lead to the app, whatever changes in the middle.
func TestTheTeamStaysIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.watchSoundness()
	host := w.host("team")
	w.serve([]string{host}, appOf("my-app", "/lasting-app", ""), app("other"), app("third"), twoApps(host),
		"apiVersion: v1\nkind: Secret\nmetadata: {name: team}\nstringData: {maintenance-bypass-token: \"alice "+memberToken+"\\n\"}\n")
	spec := w.spec("ingress/one")
	const few = 20 // visitors in each part
	public, second, open := w.loadBy(askFor("/"), 20, "", host), w.loadBy(askFor("/second/x"), 20, "", host), w.loadBy(askFor("/admin/x"), 20, "", host)
	loads := []*load{public, second, open}
	phase := func(name string) {
		for _, l := range loads {
			l.phase(name)
		}
	}
	phase("switching on")
	w.on("ingress/one", annotations.BypassSecret+"=team", annotations.OpenPaths+"=/admin")
	set := w.untilActive(ingresses, "one")
	w.arrives(host, fromPage)
	phase("on")
	w.requireLetThrough(host, set)
	w.until(ingresses, "one", "who was let through", func(u *unstructured.Unstructured) bool {
		return strings.Contains(u.GetAnnotations()[annotations.AccessReport], "let through by token or link: alice, by open path")
	})
	second.await(few)

	// Another app is written in the middle, and then who is let through is changed.
	phase("another app")
	w.kubectl("patch", "ingress/one", "--type=json", "-p", `[{"op": "replace", "path": "/spec/rules/0/http/paths/1/backend", "value": {"service": {"name": "third", "port": {"name": "web"}}}}]`)
	next := w.untilOnOther(set)
	w.arrives(host, from(next))
	phase("on with another app")
	w.requireLetThrough(host, next)
	second.await(few)
	phase("becoming read-only")
	w.kubectl("annotate", "ingress/one", annotations.ReadOnly+"=true")
	last := w.untilOnOther(next)
	phase("read-only")
	get, post := w.send(http.MethodGet, host, "/", nil), w.send(http.MethodPost, host, "/", nil)
	require.Equal(w, "method", get.header.Get(access.Header), "%d %s", get.status, get.body)
	require.Equal(w, anApp, get.from)
	assert.Equal(w, last, post.from, "what writes gets the page")
	second.await(few)

	phase("switching off")
	w.off("ingress/one")
	w.until(ingresses, "one", "restored", restored)
	w.arrives(host, fromApp)
	for _, l := range loads {
		l.stop()
	}
	public.only("another app", fromPage)
	for _, l := range []*load{public, second} {
		l.only("on", fromPage)
		l.only("on with another app", fromPage)
	}
	for _, name := range []string{"switching on", "on", "another app", "on with another app", "becoming read-only", "read-only", "switching off"} {
		w.report("visitors of an open path who did not get the app in "+name, notFromApp(open.during(name)))
	}
	assert.Equal(w, strings.ReplaceAll(spec, "other", "third"), w.spec("ingress/one"))
}

// untilOnOther waits until the Ingress shows the page of another set, and names it.
func (w *world) untilOnOther(set string) (next string) {
	w.Helper()
	return w.until(ingresses, "one", "another page set, active", func(u *unstructured.Unstructured) bool {
		return active(u) && u.GetAnnotations()[annotations.PageSet] != set
	}).GetAnnotations()[annotations.PageSet]
}

// notFromApp names answers that are not the app's. A POST is for the app as well.
func notFromApp(answers []answer) (wrong []string) {
	for _, a := range answers {
		if a.from != anApp {
			wrong = append(wrong, fmt.Sprintf("%s: from %q: %s", a, a.from, a.wrong))
		}
	}
	return wrong
}

// send asks once, with headers.
func (w *world) send(method, host, path string, header http.Header) answer {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), method, site.TraefikURL()+path, http.NoBody)
	require.NoError(w, err)
	req.Host, req.Header = host, header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	resp, err := passerBy.Do(req)
	require.NoError(w, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(w, err)
	require.NoError(w, resp.Body.Close())
	a := answer{visit: visit{method: method, host: host, path: path}, status: resp.StatusCode, header: resp.Header, body: string(body)}
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		a.from = resp.Header.Get(page.MarkerHeader)
	case resp.StatusCode == http.StatusOK && strings.HasPrefix(a.body, "hello from "):
		a.from = anApp
	}
	return a
}

// requireLetThrough looks at each way in, and at the public.
func (w *world) requireLetThrough(host, set string) {
	w.Helper()
	token := http.Header{access.Header: {memberToken}}
	for name, tc := range map[string]struct {
		path   string
		header http.Header
		by     string // empty: the page
	}{
		"the public":         {path: "/"},
		"a wrong token":      {path: "/", header: http.Header{access.Header: {"x" + memberToken}}},
		"a made-up cookie":   {path: "/", header: http.Header{"Cookie": {access.CookieName("team") + "=alice.1.x"}}},
		"an open path":       {path: "/admin/users", by: "path"},
		"a path that begins": {path: "/administration"},
		"a path trick":       {path: "/admin/..%2f"},
		"a token":            {path: "/", header: token, by: "header"},
		"a token elsewhere":  {path: "/second", header: token, by: "header"},
		"a cookie":           {path: "/", header: http.Header{"Cookie": {w.cookie(host)}}, by: "cookie"},
	} {
		a := w.send(http.MethodGet, host, tc.path, tc.header)
		if tc.by == "" {
			require.Equal(w, set, a.from, "%s: %d %.80s", name, a.status, a.body)
			require.NotEmpty(w, a.header.Get("Retry-After"), name)
			require.Equal(w, "no-store", a.header.Get("Cache-Control"), name)
			continue
		}
		require.Equal(w, anApp, a.from, "%s: %d %.80s", name, a.status, a.body)
		require.Equal(w, tc.by, a.header.Get(access.Header), name)
		if tc.by != "path" {
			require.Contains(w, a.header.Get("Cache-Control"), "no-store", name)
		}
	}
	w.requireSocket(host)
}

// cookie is what the link gives for the token.
func (w *world) cookie(host string) string {
	w.Helper()
	a := w.send(http.MethodPost, host, "/any/path?maintenance-bypass", http.Header{access.Header: {memberToken}, "Sec-Fetch-Site": {"same-origin"}, "Origin": {"http://" + host}})
	require.Equal(w, http.StatusNoContent, a.status, a.body)
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	require.NotEmpty(w, cookie)
	return cookie
}

// requireSocket: who has a cookie uses the app over a WebSocket, and nobody else does.
func (w *world) requireSocket(host string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	dial := func(header http.Header) (*websocket.Conn, error) {
		socket, resp, err := websocket.Dial(ctx, site.TraefikURL()+"/socket", &websocket.DialOptions{Host: host, HTTPHeader: header, HTTPClient: patientClient})
		if resp != nil && resp.Body != nil && err != nil {
			_ = resp.Body.Close()
		}
		return socket, err
	}
	_, err := dial(nil)
	require.Error(w, err, "the public")
	socket, err := dial(http.Header{"Cookie": {w.cookie(host)}})
	require.NoError(w, err)
	defer func() { _ = socket.CloseNow() }()
	require.NoError(w, socket.Write(ctx, websocket.MessageText, []byte("hello")))
	_, said, err := socket.Read(ctx)
	require.NoError(w, err)
	require.Equal(w, "hello", string(said))
}
