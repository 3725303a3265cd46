package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// known is what the API is given in a test.
type known struct {
	services             []Service
	rows                 []Row
	unread, unreadTarget bool

	mu    sync.Mutex
	asked int
}

func (k *known) Services() ([]Service, bool) { return append([]Service{}, k.services...), !k.unread }

func (k *known) Rows() ([]Row, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	return k.rows, !k.unreadTarget
}

func (k *known) api(c Config) *API {
	c.Services, c.Maintenance = k, k
	return New(c)
}

// ask sends a request with header fields, each as Name: value.
func ask(h http.Handler, method, target string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "https://api.example"+target, nil)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func service(name string, ready, critical bool) Service {
	namespace, name, _ := strings.Cut(name, "/")
	return Service{Namespace: namespace, Name: name, Known: true, Ready: ready, Critical: critical}
}

func shop() *known {
	since := time.Date(2026, 3, 1, 12, 0, 0, 5, time.FixedZone("", 3600))
	return &known{
		services: []Service{service("shop/web", true, true), service("shop/mail", false, false), service("blog/web", true, false), {Namespace: "shop", Name: "new"}},
		rows: []Row{
			{Kind: "Ingress", Namespace: "shop", Name: "b", Hosts: []string{"b.example"}, State: "active", Since: since, Until: since.Add(time.Hour), Reason: "<b>\"new\"\u2028 database", Page: "spring"},
			{Kind: "Ingress", Namespace: "blog", Name: "any", Hosts: []string{"*"}, State: "pending", Page: "default"},
			{Kind: "HTTPRoute", Namespace: "shop", Name: "wild", Hosts: []string{"*.shop.example"}, State: "active", Page: "default"},
			{Kind: "IngressRoute", Namespace: "shop", Name: "expression", Hosts: []string{"~^a"}, State: "active", Page: "default"},
			{Kind: "Service", Namespace: "shop", Name: "web", Hosts: []string{}, State: "active", Page: "default"},
		},
	}
}

func TestServices(t *testing.T) {
	h := shop().api(Config{})
	assert.JSONEq(t, `[
		{"name":"web","namespace":"blog","ready":true,"critical":false},
		{"name":"mail","namespace":"shop","ready":false,"critical":false},
		{"name":"new","namespace":"shop","ready":null,"critical":false},
		{"name":"web","namespace":"shop","ready":true,"critical":true}
	]`, ask(h, "GET", "/services").Body.String())
	for query, want := range map[string]string{
		"?critical=true":                "shop/web",
		"?critical=false":               "blog/web shop/mail shop/new",
		"?namespace=blog":               "blog/web",
		"?namespace=blog&critical=true": "",
		"?namespace=nobody":             "",
	} {
		w := ask(h, "GET", "/services"+query)
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
		assert.Equal(t, want, names(t, w), query)
	}
}

// names gives namespace/name of each entry, and wants a list.
func names(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var list []struct{ Namespace, Name string }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &list), w.Body)
	require.NotNil(t, list, "an empty list is [], not null")
	all := []string{}
	for _, entry := range list {
		all = append(all, entry.Namespace+"/"+entry.Name)
	}
	return strings.Join(all, " ")
}

// TestOneEntryAService: critical if any checker says so, and ready only if all do.
func TestOneEntryAService(t *testing.T) {
	unknown := Service{Namespace: "a", Name: "s"}
	for name, c := range map[string]struct {
		named []Service
		want  string
	}{
		"critical for the first":   {[]Service{service("a/s", true, true), service("a/s", true, false)}, `"ready":true,"critical":true`},
		"critical for the second":  {[]Service{service("a/s", true, false), service("a/s", true, true)}, `"ready":true,"critical":true`},
		"not ready for the one":    {[]Service{service("a/s", true, true), service("a/s", false, false)}, `"ready":false,"critical":true`},
		"not known to the one":     {[]Service{service("a/s", true, false), unknown}, `"ready":null,"critical":false`},
		"not known, and not ready": {[]Service{unknown, service("a/s", false, false)}, `"ready":false,"critical":false`},
	} {
		h := (&known{services: c.named}).api(Config{})
		assert.Equal(t, fmt.Sprintf("[{\"name\":\"s\",\"namespace\":\"a\",%s}]\n", c.want), ask(h, "GET", "/services").Body.String(), name)
	}
}

func TestService(t *testing.T) {
	k := shop()
	k.services[1].ReadyEndpoints, k.services[1].Since, k.services[1].Message = 0, k.rows[0].Since, "0 of 1 endpoints are ready"
	h := k.api(Config{})
	assert.JSONEq(t, `{"name":"mail","namespace":"shop","ready":false,"critical":false,"readyEndpoints":0,"since":"2026-03-01T11:00:00Z","message":"0 of 1 endpoints are ready"}`,
		ask(h, "GET", "/services/shop/mail").Body.String())
	assert.Contains(t, ask(h, "GET", "/services/shop/web").Body.String(), `"since":null`)
	w := ask(h, "GET", "/services/shop/new")
	assert.Equal(t, http.StatusServiceUnavailable, w.Code, "what is not known is not told")
	assert.Equal(t, "1", w.Header().Get("Retry-After"))
	assert.Equal(t, http.StatusNotFound, ask(h, "GET", "/services/shop/none").Code)
}

func TestStatus(t *testing.T) {
	unknown := func(critical bool) Service { return Service{Namespace: "a", Name: "u", Critical: critical} }
	for name, c := range map[string]struct {
		services []Service
		query    string
		code     int
		want     string
	}{
		"nothing is checked":         {nil, "", 200, `{"status":"up","services":{"total":0,"ready":0,"critical":0,"criticalReady":0},"notReady":[]}`},
		"all are ready":              {[]Service{service("a/s", true, true)}, "", 200, `{"status":"up","services":{"total":1,"ready":1,"critical":1,"criticalReady":1},"notReady":[]}`},
		"one that is not critical":   {[]Service{service("a/s", false, false)}, "", 200, `{"status":"degraded","services":{"total":1,"ready":0,"critical":0,"criticalReady":0},"notReady":[{"name":"s","namespace":"a","ready":false,"critical":false}]}`},
		"one that is critical":       {[]Service{service("a/s", false, true), unknown(true)}, "", 503, `{"status":"down","services":{"total":2,"ready":0,"critical":2,"criticalReady":0},"notReady":[{"name":"s","namespace":"a","ready":false,"critical":true},{"name":"u","namespace":"a","ready":null,"critical":true}]}`},
		"in another namespace":       {[]Service{service("a/s", false, true), service("b/s", true, true)}, "?namespace=b", 200, `{"status":"up","services":{"total":1,"ready":1,"critical":1,"criticalReady":1},"notReady":[]}`},
		"unknown and not critical":   {[]Service{unknown(false)}, "", 200, `{"status":"degraded","services":{"total":1,"ready":0,"critical":0,"criticalReady":0},"notReady":[{"name":"u","namespace":"a","ready":null,"critical":false}]}`},
		"unknown, as far as we know": {[]Service{service("a/s", true, true), unknown(true)}, "", 503, `{"title":"Service Unavailable","status":503,"detail":"whether critical Service a/u is ready is not known"}`},
	} {
		w := ask((&known{services: c.services}).api(Config{}), "GET", "/status"+c.query)
		assert.Equal(t, c.code, w.Code, name)
		assert.JSONEq(t, c.want, w.Body.String(), name)
	}
}

func TestMaintenance(t *testing.T) {
	h := shop().api(Config{})
	w := ask(h, "GET", "/maintenance?namespace=shop&host=b.example")
	assert.NotContains(t, w.Body.String(), "<", "what may be taken for markup is escaped")
	assert.JSONEq(t, `[
		{"kind":"Ingress","namespace":"shop","name":"b","hosts":["b.example"],"state":"active","since":"2026-03-01T11:00:00Z","until":"2026-03-01T12:00:00Z","reason":"<b>\"new\"\u2028 database","page":"spring"},
		{"kind":"IngressRoute","namespace":"shop","name":"expression","hosts":["~^a"],"state":"active","since":null,"until":null,"reason":"","page":"default"}
	]`, w.Body.String())
	for query, want := range map[string]string{
		"":                           "blog/any shop/wild shop/b shop/expression shop/web",
		"?namespace=blog":            "blog/any",
		"?host=b.example":            "blog/any shop/b shop/expression",
		"?host=B.Example.":           "blog/any shop/b shop/expression",
		"?host=b.example:8443":       "blog/any shop/b shop/expression",
		"?host=x.shop.example":       "blog/any shop/wild shop/expression",
		"?host=x.y.shop.example":     "blog/any shop/wild shop/expression",
		"?host=shop.example":         "blog/any shop/expression",
		"?host=192.0.2.1":            "blog/any shop/expression",
		"?namespace=none&host=a.b.c": "",
	} {
		assert.Equal(t, want, names(t, ask(h, "GET", "/maintenance"+query)), query)
	}
}

// TestWhatIsNotReadIsNotTold: an empty list would say that nothing is in maintenance.
func TestWhatIsNotReadIsNotTold(t *testing.T) {
	ask503 := func(k *known, path, detail string) {
		t.Helper()
		w := ask(k.api(Config{}), "GET", path)
		assert.Equal(t, http.StatusServiceUnavailable, w.Code, path)
		assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
		assert.Equal(t, "1", w.Header().Get("Retry-After"))
		assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		assert.Contains(t, w.Body.String(), detail)
	}
	unread, unreadTargets := shop(), shop()
	unread.unread, unreadTargets.unreadTarget = true, true
	for _, path := range []string{"/services", "/services/shop/web", "/status", "/healthz"} {
		ask503(unread, path, "not read everything yet")
	}
	ask503(unreadTargets, "/maintenance", "not read everything yet")
	ask503(unreadTargets, "/healthz", "not read everything yet")
	assert.False(t, unread.api(Config{}).Ready())
	assert.True(t, shop().api(Config{}).Ready())
	assert.Equal(t, 200, ask(unread.api(Config{}), "GET", "/maintenance").Code, "each stands for itself")

	nothing := New(Config{Maintenance: shop()})
	assert.Equal(t, "[]\n", ask(nothing, "GET", "/services").Body.String(), "without checkers there are none")
}

// TestHostsThatAreNotReadMayBeAny: such a target is in each answer, alone and beside rows
// that match, or it would say that the target is not in maintenance.
func TestHostsThatAreNotReadMayBeAny(t *testing.T) {
	unread := Row{Kind: "Ingress", Namespace: "shop", Name: "a", State: "active"}
	alone, beside := &known{rows: []Row{unread}}, shop()
	beside.rows = append(beside.rows, unread)
	for query, want := range map[string][2]string{
		"":                                    {"shop/a", "blog/any shop/wild shop/a shop/b shop/expression shop/web"},
		"?host=a.example":                     {"shop/a", "blog/any shop/a shop/expression"},
		"?host=a.example&namespace=shop":      {"shop/a", "shop/a shop/expression"},
		"?host=x.shop.example&namespace=shop": {"shop/a", "shop/wild shop/a shop/expression"},
		"?host=a.example&namespace=blog":      {"", "blog/any"},
	} {
		for i, k := range []*known{alone, beside} {
			w := ask(k.api(Config{}), "GET", "/maintenance"+query)
			assert.Equal(t, want[i], names(t, w), query)
			assert.Equal(t, strings.Contains(want[i], "shop/a"), strings.Contains(w.Body.String(), `"hosts":null`), query)
		}
	}
}

// TestNamespaces: what the API does not tell of, it does not tell of in any way.
func TestNamespaces(t *testing.T) {
	k := shop()
	k.services = append(k.services, service("secret/db", false, true))
	k.rows = append(k.rows, Row{Kind: "Ingress", Namespace: "secret", Name: "a", Hosts: nil, State: "active"})
	h := k.api(Config{Namespaces: []string{"shop", "blog"}})
	for _, path := range []string{"/services", "/services?critical=true", "/status", "/maintenance", "/maintenance?host=x.example", "/services/shop/web", "/healthz"} {
		w := ask(h, "GET", path)
		assert.Equal(t, 200, w.Code, path)
		assert.NotContains(t, w.Body.String(), "secret", path)
	}
	for _, namespace := range []string{"secret", "nobody"} { // nobody learns which of them is there
		for _, path := range []string{"/services?namespace=", "/status?namespace=", "/maintenance?namespace="} {
			w := ask(h, "GET", path+namespace)
			assert.Equal(t, http.StatusForbidden, w.Code, path)
			assert.Contains(t, w.Body.String(), fmt.Sprintf(`does not tell of namespace \"%s\"`, namespace))
		}
		assert.Equal(t, http.StatusForbidden, ask(h, "GET", "/services/"+namespace+"/db").Code)
	}
	for _, path := range []string{"/services/shop%2f..%2fsecret/db", "/services/SECRET/db", "/services?namespace=shop&namespace=secret", "/services?namespace=Secret", "/services?namespace=", "/services?Namespace=secret"} {
		assert.GreaterOrEqual(t, ask(h, "GET", path).Code, 400, path)
	}
}

func TestRefusals(t *testing.T) {
	h := shop().api(Config{})
	for _, c := range []struct {
		method, target string
		code           int
		detail         string
	}{
		{"GET", "/", 404, `there is /services, /services/NAMESPACE/NAME, /status, /maintenance and /healthz, and no \"/\"`},
		{"GET", "/services/", 404, "no"},
		{"GET", "//services", 404, "no"},
		{"GET", "/services/../status", 404, "no"},
		{"GET", "/services/shop", 404, "no"},
		{"GET", "/services/shop/web/x", 404, "no"},
		{"GET", "/services/shop/We%62%00", 404, "cannot be namespace and name of a Service"},
		{"GET", "/services/shop/..%2Fblog", 404, "no"},
		{"GET", "/metrics", 404, "no"},
		{"GET", "/debug/pprof/", 404, "no"},
		{"POST", "/services", 405, "read with GET or HEAD, not with \\\"POST\\\""},
		{"DELETE", "/services/shop/web", 405, "GET or HEAD"},
		{"GET", "/services?critical=yes", 400, `parameter critical: \"yes\" is neither true nor false`},
		{"GET", "/services?host=a.example", 400, `there is no parameter \"host\" here: there is namespace and critical`},
		{"GET", "/services/shop/web?x=1", 400, `there is no parameter \"x\" here, nor any other`},
		{"GET", "/status?namespace=a&namespace=b", 400, "parameter namespace is given 2 times"},
		{"GET", "/status?namespace=a;b=c", 400, "the query cannot be read"},
		{"GET", "/status?%zz=1", 400, "the query cannot be read"},
		{"GET", "/maintenance?host=", 400, "is no host"},
		{"GET", "/maintenance?host=a.example:http", 400, "is no host"},
		{"GET", "/maintenance?host=https://a.example", 400, "is no host"},
		{"GET", "/maintenance?namespace=%3Cscript%3E", 400, `\"\u003cscript\u003e\" is no name of a namespace`},
		{"GET", "/maintenance?host=" + strings.Repeat("a", 5000), 400, "…"},
	} {
		w := ask(h, c.method, c.target)
		name := c.method + " " + c.target[:min(len(c.target), 80)]
		assert.Equal(t, c.code, w.Code, name)
		assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"), name)
		assert.Contains(t, strings.ReplaceAll(w.Body.String(), `\\u2026`, "…"), c.detail, name)
		assert.Less(t, w.Body.Len(), 500, name)
		var p struct{ Status int }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p), name)
		assert.Equal(t, c.code, p.Status, name)
	}
	assert.Equal(t, "GET, HEAD, OPTIONS", ask(h, "PUT", "/status").Header().Get("Allow"))
	w := ask(h, "OPTIONS", "/status")
	assert.Equal(t, http.StatusNoContent, w.Code)
	assert.Equal(t, "GET, HEAD, OPTIONS", w.Header().Get("Allow"))
}

func TestHeadIsAGetWithoutBody(t *testing.T) {
	h := shop().api(Config{})
	for _, path := range []string{"/services", "/status", "/maintenance", "/services/shop/web", "/healthz", "/nowhere"} {
		get, head := ask(h, "GET", path), ask(h, "HEAD", path)
		assert.Equal(t, get.Code, head.Code, path)
		assert.Equal(t, get.Header(), head.Header(), path)
		assert.Equal(t, fmt.Sprint(get.Body.Len()), head.Header().Get("Content-Length"), path)
		assert.Zero(t, head.Body.Len(), path)
	}
}

// TestPolling: a client that has an answer is told that it still holds, by the same tag
// whichever replica it asks.
func TestPolling(t *testing.T) {
	h, other := shop().api(Config{}), shop().api(Config{})
	w := ask(h, "GET", "/services")
	assert.Equal(t, "no-cache", w.Header().Get("Cache-Control"))
	etag := w.Header().Get("ETag")
	for _, field := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		w = ask(other, "GET", "/services", "If-None-Match: "+field)
		assert.Equal(t, http.StatusNotModified, w.Code, field)
		assert.Equal(t, etag, w.Header().Get("ETag"))
		assert.Zero(t, w.Body.Len())
	}
	assert.Equal(t, 200, ask(h, "GET", "/services", `If-None-Match: "x"`).Code)
	assert.NotEqual(t, etag, ask(h, "GET", "/services?critical=true").Header().Get("ETag"))
}

func TestCORS(t *testing.T) {
	const origin = "https://shop.example"
	preflight := []string{"Origin: " + origin, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: if-none-match"}
	closed, some, all := shop().api(Config{}), shop().api(Config{Origins: []string{"http://localhost:3000", origin}}), shop().api(Config{Origins: []string{"*"}})
	for name, c := range map[string]struct {
		api           *API
		allowed, vary string
		preflight     int
	}{
		"none are allowed": {closed, "", "", 403},
		"it is allowed":    {some, origin, "Origin", 204},
		"any is allowed":   {all, "*", "", 204},
	} {
		for _, path := range []string{"/services", "/nowhere", "/services?x=1"} { // or a script sees no error but "failed to fetch"
			w := ask(c.api, "GET", path, "Origin: "+origin)
			assert.Equal(t, c.allowed, w.Header().Get("Access-Control-Allow-Origin"), name)
			assert.Equal(t, c.vary, w.Header().Get("Vary"), name)
			assert.Empty(t, w.Header().Get("Access-Control-Allow-Credentials"))
		}
		w := ask(c.api, "OPTIONS", "/services", preflight...)
		assert.Equal(t, c.preflight, w.Code, name)
		assert.Equal(t, c.allowed, w.Header().Get("Access-Control-Allow-Origin"), name)
		if c.preflight == 204 {
			assert.Contains(t, w.Header().Get("Access-Control-Allow-Headers"), "If-None-Match")
			assert.Equal(t, "GET, HEAD", w.Header().Get("Access-Control-Allow-Methods"))
		}
	}
	for _, other := range []string{"null", "https://shop.example.evil.example", "http://shop.example", "https://SHOP.example", ""} {
		assert.Empty(t, ask(some, "GET", "/services", "Origin: "+other).Header().Get("Access-Control-Allow-Origin"), other)
	}
	assert.Equal(t, "Origin", ask(some, "GET", "/services").Header().Get("Vary"), "a cache must not give this to a script")
}

func TestCheckOrigin(t *testing.T) {
	for _, good := range []string{"*", "https://shop.example", "http://localhost:3000", "http://[::1]:80"} {
		assert.NoError(t, CheckOrigin(good), good)
	}
	for _, bad := range []string{"", "shop.example", "https://shop.example/", "https://*.example", "https://Shop.example", "null", "https://", "https://a@b", "https://a\r\nb", "ftp://a"} {
		assert.Error(t, CheckOrigin(bad), bad)
	}
}

// TestManyAskAtOnce: ten thousand clients that ask the same cost little more than one,
// and none is told what is older than they may be told.
func TestManyAskAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := shop()
		h := k.api(Config{})
		var all sync.WaitGroup
		for range 10_000 {
			all.Go(func() { assert.Equal(t, 200, ask(h, "GET", "/maintenance").Code) })
		}
		all.Wait()
		assert.Less(t, k.asked, 100)
		time.Sleep(longest)
		synctest.Wait()
		assert.Empty(t, h.made.made, "nothing is kept that nobody will be given")
		k.rows = nil
		assert.Equal(t, "[]\n", ask(h, "GET", "/maintenance").Body.String())
		assert.Zero(t, h.made.held)
	})
}

// TestManyDifferentQuestions: what is kept for others is bounded, and so is what is on
// its way to clients that do not read.
func TestManyDifferentQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := shop().api(Config{})
		for i := range 4 * kept {
			assert.Equal(t, 200, ask(h, "GET", fmt.Sprintf("/maintenance?host=h%d.example", i)).Code)
			assert.LessOrEqual(t, len(h.made.made), kept)
		}
		h.made.held = maxHeld
		w := ask(h, "GET", "/maintenance")
		assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		assert.Contains(t, w.Body.String(), "too many answers")
	})
}

func TestAPanicIsNobodyElses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Maintenance: nil}) // nothing to ask
		assert.Panics(t, func() { ask(h, "GET", "/maintenance") })
		time.Sleep(fresh + 1)
		synctest.Wait()
		assert.Empty(t, h.made.made)
		assert.Empty(t, h.made.turns)
	})
}

// BenchmarkFiftyThousandRows measures what the largest answer takes.
func BenchmarkFiftyThousandRows(b *testing.B) {
	k := &known{}
	for i := range 50_000 {
		k.rows = append(k.rows, Row{Kind: "Ingress", Namespace: fmt.Sprintf("namespace-%d", i%500), Name: fmt.Sprintf("my-app-%d", i), Hosts: []string{fmt.Sprintf("h%d.example", i)}, State: "active", Since: time.Now(), Reason: "a new database", Page: "default"})
	}
	h := k.api(Config{})
	for b.Loop() {
		a, err := h.maintenance(query{})
		require.NoError(b, err)
		p, err := newReply(a)
		require.NoError(b, err)
		b.SetBytes(int64(len(p.body)))
	}
}
