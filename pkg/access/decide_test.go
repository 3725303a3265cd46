package access

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	anna = "bfN7QkU0yG7T2hJxZ4sLwA"           // 22 characters of base64
	job  = "0f1e2d3c4b5a69788796a5b4c3d2e1f0" // 32 hex digits
)

var now = time.Unix(1_800_000_000, 0)

func rules(t *testing.T) Rules {
	t.Helper()
	tokens, problems := ParseTokens("team", "anna "+anna+"\njob "+job+"\n")
	require.Empty(t, problems)
	return Rules{Settings: all(), Tokens: tokens}
}

// withCookie is the header of a request with the cookie of a token's holder for a host.
func withCookie(t *testing.T, r Rules, name, host string, until time.Time) map[string][]string {
	t.Helper()
	token, ok := r.Tokens.named(name)
	require.True(t, ok)
	return map[string][]string{"Cookie": {"a=b; " + SecureCookieName(r.Settings.BypassSecret) + "=" + r.Tokens.Seal(token, host, until)}}
}

func TestDecide(t *testing.T) {
	r := rules(t)
	later := now.Add(time.Hour)
	header := func(pairs ...string) map[string][]string {
		h := map[string][]string{}
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
		}
		return h
	}
	for _, test := range []struct {
		name   string
		give   Request
		by     By
		holder string
		why    Why
	}{
		{name: "the public writing", give: Request{Method: "POST", Path: "/"}, why: Closed},
		{name: "a token", give: Request{Method: "POST", Path: "/x//..", Header: header(Header, anna)}, by: ByHeader, holder: "anna"},
		{name: "a wrong token", give: Request{Method: "POST", Path: "/", Header: header(Header, anna+"x")}, why: WrongToken},
		{name: "two tokens", give: Request{Method: "POST", Path: "/", Header: header(Header, anna, Header, job)}, why: WrongToken},
		{name: "an empty token", give: Request{Method: "POST", Path: "/", Header: header(Header, "")}, why: WrongToken},
		{name: "a wrong token on an open path", give: Request{Method: "POST", Path: "/admin", Header: header(Header, "x")}, by: ByPath, why: WrongToken},
		{name: "a cookie", give: Request{Method: "DELETE", Path: "/", Host: "shop.example", Header: withCookie(t, r, "job", "shop.example", later)}, by: ByCookie, holder: "job"},
		{name: "a cookie, on another port", give: Request{Method: "PUT", Path: "/", Host: "Shop.Example.:8443", Header: withCookie(t, r, "job", "shop.example", later)}, by: ByCookie, holder: "job"},
		{name: "a cookie for another host", give: Request{Method: "PUT", Path: "/", Host: "shop.example", Header: withCookie(t, r, "job", "other.example", later)}, why: WrongCookie},
		{name: "an expired cookie", give: Request{Method: "PUT", Path: "/", Host: "shop.example", Header: withCookie(t, r, "job", "shop.example", now)}, why: EndedCookie},
		{name: "an open path", give: Request{Method: "POST", Path: "/admin/x"}, by: ByPath},
		{name: "an open path, with another path in a header", give: Request{Method: "POST", Path: "/admin", Header: header("X-Original-Url", "/secret")}, why: OddRequest},
		{name: "the same, as a CGI variable", give: Request{Method: "POST", Path: "/admin", Header: header("X_rewrite-Url", "/secret")}, why: OddRequest},
		{name: "an open path from which the app removes the script name", give: Request{Method: "POST", Path: "/admin/secret", Header: header("Script_name", "/admin")}, why: OddRequest},
		{name: "the same with middleware's header", give: Request{Method: "POST", Path: "/admin/secret", Header: header("X-Script-Name", "/admin")}, why: OddRequest},
		{name: "the same with dashes", give: Request{Method: "POST", Path: "/admin/secret", Header: header("Script-Name", "/admin")}, why: OddRequest},
		{name: "an open path with path info after it", give: Request{Method: "POST", Path: "/admin", Header: header("Path_Info", "/secret")}, why: OddRequest},
		{name: "a path that some programs read as open", give: Request{Method: "POST", Path: "/admin/../x"}, why: OddPath},
		{name: "reading", give: Request{Method: "GET", Path: "/a/../b", Query: "method=x&x=_method"}, by: ByMethod},
		{name: "HEAD", give: Request{Method: "HEAD", Path: "/"}, by: ByMethod},
		{name: "OPTIONS", give: Request{Method: "OPTIONS", Path: "/"}, by: ByMethod},
		{name: "a method in lower case", give: Request{Method: "get", Path: "/"}, why: Closed},
		{name: "reading with an upgrade", give: Request{Method: "GET", Path: "/", Header: header("Upgrade", "websocket")}, why: OddRequest},
		{name: "reading with another method in a header", give: Request{Method: "GET", Path: "/", Header: header("X-Http-Method-Override", "DELETE")}, why: OddRequest},
		{name: "the same, as a CGI variable", give: Request{Method: "GET", Path: "/", Header: header("X_http_method_override", "DELETE")}, why: OddRequest},
		{name: "an upgrade on an open path", give: Request{Method: "GET", Path: "/admin", Header: header("Upgrade", "websocket")}, by: ByPath},
		{name: "a tunnel", give: Request{Method: "CONNECT", Path: "/admin", Header: header(Header, anna)}, why: Tunnel},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := r.Decide(test.give, now)
			assert.Equal(t, []any{test.by, test.holder, test.why}, []any{got.By, got.Token.Name, got.Why})
		})
	}
}

// TestForeignCookiesLockNobodyOut: a subdomain can set as many cookies with the plain name
// as a browser keeps, but none whose name begins with __Host-.
func TestForeignCookiesLockNobodyOut(t *testing.T) {
	r := rules(t)
	header := withCookie(t, r, "anna", "shop.example", now.Add(time.Hour))
	foreign := strings.Repeat(CookieName("team")+"=1:anna:x; ", 4*maxCookies)
	header["Cookie"][0] = foreign + header["Cookie"][0]
	got := r.Decide(Request{Method: "POST", Path: "/", Host: "shop.example", Header: header}, now)
	assert.Equal(t, []any{ByCookie, "anna"}, []any{got.By, got.Token.Name})
	header["Cookie"][0] = foreign
	assert.Equal(t, WrongCookie, r.Decide(Request{Method: "POST", Path: "/", Host: "shop.example", Header: header}, now).Why)
}

func TestMethodOverrideInTheQuery(t *testing.T) {
	r := rules(t)
	for _, query := range []string{"_method=DELETE", "a=b&_METHOD=put", "%5fmethod=x", "_%6Dethod", "x;_method=x", "_method[]=x", ".method=x", "+_method=x", "[method=x", "a=1%26_method=x"} {
		assert.Equal(t, Decision{Why: OddRequest}, r.Decide(Request{Method: "GET", Path: "/", Query: query}, now), query)
	}
}

// TestSingleSettings: each setting lets through what it is for, and nothing else.
func TestSingleSettings(t *testing.T) {
	whole := rules(t)
	reading := Request{Method: "GET", Path: "/"}
	paths := Request{Method: "GET", Path: "/admin"}
	token := Request{Method: "GET", Path: "/", Header: map[string][]string{Header: {anna}}}
	for _, test := range []struct {
		name     string
		settings Settings
		want     [3]By
	}{
		{"a secret", Settings{BypassSecret: "team"}, [3]By{"", "", ByHeader}},
		{"open paths", Settings{OpenPaths: []string{"/admin"}}, [3]By{"", ByPath, ""}},
		{"read-only", Settings{ReadOnly: true}, [3]By{ByMethod, ByMethod, ByMethod}},
		{"nothing", Settings{}, [3]By{}},
	} {
		r := Rules{Settings: test.settings, Tokens: whole.Tokens}
		assert.Equal(t, test.want, [3]By{r.Decide(reading, now).By, r.Decide(paths, now).By, r.Decide(token, now).By}, test.name)
	}
}

// TestPreflights: preflights carry no cookie, so answering them with the page would lock out
// everybody who comes from another origin. If there are no tokens, they get the page.
func TestPreflights(t *testing.T) {
	whole := rules(t)
	r := Rules{Settings: Settings{BypassSecret: "team"}, Tokens: whole.Tokens}
	ask := func() Request {
		return Request{Method: "OPTIONS", Path: "/", Header: map[string][]string{"Origin": {"https://x.example"}, "Access-Control-Request-Method": {"PUT"}}}
	}
	assert.Equal(t, Decision{By: ByMethod}, r.Decide(ask(), now))
	for name, change := range map[string]func(*Request){
		"no origin":        func(q *Request) { delete(q.Header, "Origin") },
		"no method":        func(q *Request) { delete(q.Header, "Access-Control-Request-Method") },
		"content":          func(q *Request) { q.Body = true },
		"another method":   func(q *Request) { q.Method = "GET" },
		"an upgrade":       func(q *Request) { q.Header["Upgrade"] = []string{"websocket"} },
		"an override":      func(q *Request) { q.Header["X-Method-Override"] = []string{"POST"} },
		"one in the query": func(q *Request) { q.Query = "_method=POST" },
	} {
		q := ask()
		change(&q)
		assert.Empty(t, r.Decide(q, now).By, name)
	}
	r.Tokens = Tokens{}
	assert.Equal(t, Decision{Why: Closed}, r.Decide(ask(), now), "nobody can be let in")
}
