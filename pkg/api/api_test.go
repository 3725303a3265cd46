package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// known is the data that the API gets in a test.
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

// ask sends a request with header fields, each written as Name: value.
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

// names returns namespace/name of each entry, and requires a list.
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

// TestServicesMergesDuplicates: a Service is critical if any checker says so, and ready only if it
// is for all.
func TestServicesMergesDuplicates(t *testing.T) {
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
	assert.Equal(t, http.StatusServiceUnavailable, w.Code, "an unknown state is not reported")
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
		"unknown, as far as we know": {[]Service{service("a/s", true, true), unknown(true)}, "", 503, `{"title":"Service Unavailable","status":503,"detail":"it is not known whether critical Service a/u is ready"}`},
	} {
		w := ask((&known{services: c.services}).api(Config{}), "GET", "/status"+c.query)
		assert.Equal(t, c.code, w.Code, name)
		assert.JSONEq(t, c.want, w.Body.String(), name)
	}
}

// TestUnreadDataIsUnavailable: an empty list would say that nothing is in maintenance.
func TestUnreadDataIsUnavailable(t *testing.T) {
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
	assert.Equal(t, 200, ask(unread.api(Config{}), "GET", "/maintenance").Code, "the two are independent")

	nothing := New(Config{Maintenance: shop()})
	assert.Equal(t, "[]\n", ask(nothing, "GET", "/services").Body.String(), "without checkers the list is empty")
}

// TestOtherNamespacesAreHidden: nothing reveals a namespace that the API does not cover.
func TestOtherNamespacesAreHidden(t *testing.T) {
	k := shop()
	k.services = append(k.services, service("secret/db", false, true))
	k.rows = append(k.rows, Row{Kind: "Ingress", Namespace: "secret", Name: "a", Hosts: nil, State: "active"})
	h := k.api(Config{Namespaces: []string{"shop", "blog"}})
	for _, path := range []string{"/services", "/services?critical=true", "/status", "/maintenance", "/maintenance?host=x.example", "/services/shop/web", "/healthz"} {
		w := ask(h, "GET", path)
		assert.Equal(t, 200, w.Code, path)
		assert.NotContains(t, w.Body.String(), "secret", path)
	}
	for _, namespace := range []string{"secret", "nobody"} { // the answer must not reveal which of them exists
		for _, path := range []string{"/services?namespace=", "/status?namespace=", "/maintenance?namespace="} {
			w := ask(h, "GET", path+namespace)
			assert.Equal(t, http.StatusForbidden, w.Code, path)
			assert.Contains(t, w.Body.String(), fmt.Sprintf(`does not serve namespace \"%s\"`, namespace))
		}
		assert.Equal(t, http.StatusForbidden, ask(h, "GET", "/services/"+namespace+"/db").Code)
	}
	for _, path := range []string{"/services/shop%2f..%2fsecret/db", "/services/SECRET/db", "/services?namespace=shop&namespace=secret", "/services?namespace=Secret", "/services?namespace=", "/services?Namespace=secret"} {
		assert.GreaterOrEqual(t, ask(h, "GET", path).Code, 400, path)
	}
}

func TestInvalidRequests(t *testing.T) {
	h := shop().api(Config{})
	for _, c := range []struct {
		method, target string
		code           int
		detail         string
	}{
		{"GET", "/", 404, `there is no \"/\": use /services, /services/NAMESPACE/NAME, /status, /maintenance or /healthz`},
		{"GET", "/services/", 404, "no"},
		{"GET", "//services", 404, "no"},
		{"GET", "/services/../status", 404, "no"},
		{"GET", "/services/shop", 404, "no"},
		{"GET", "/services/shop/web/x", 404, "no"},
		{"GET", "/services/shop/We%62%00", 404, "is not a valid namespace and name of a Service"},
		{"GET", "/services/shop/..%2Fblog", 404, "no"},
		{"GET", "/metrics", 404, "no"},
		{"GET", "/debug/pprof/", 404, "no"},
		{"POST", "/services", 405, "method \\\"POST\\\" is not allowed: use GET or HEAD"},
		{"DELETE", "/services/shop/web", 405, "GET or HEAD"},
		{"GET", "/services?critical=yes", 400, `parameter critical: \"yes\" is neither true nor false`},
		{"GET", "/services?host=a.example", 400, `unknown parameter \"host\": this path takes namespace and critical`},
		{"GET", "/services/shop/web?x=1", 400, `unknown parameter \"x\": this path takes none`},
		{"GET", "/status?namespace=a&namespace=b", 400, "parameter namespace is given 2 times"},
		{"GET", "/status?namespace=a;b=c", 400, "the query cannot be parsed"},
		{"GET", "/status?%zz=1", 400, "the query cannot be parsed"},
		{"GET", "/maintenance?host=", 400, "is not a host"},
		{"GET", "/maintenance?host=a.example:http", 400, "is not a host"},
		{"GET", "/maintenance?host=https://a.example", 400, "is not a host"},
		{"GET", "/maintenance?namespace=%3Cscript%3E", 400, `\"\u003cscript\u003e\" is not the name of a namespace`},
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
