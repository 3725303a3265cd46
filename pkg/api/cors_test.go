package api

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

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
		for _, path := range []string{"/services", "/nowhere", "/services?x=1"} { // otherwise a script only sees "failed to fetch"
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
