package bypass

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/access"
)

func onlyTokens() access.Settings { return access.Settings{BypassSecret: secret} }

// exchange sends a token to a link as its page does, by script or by form.
func (w *world) exchange(t *testing.T, target, token string, script bool, pairs ...string) answer {
	t.Helper()
	r := w.ask(t, http.MethodPost, target, pairs...)
	if script {
		r.Header.Set(access.Header, token)
	} else {
		form, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL.String(), strings.NewReader("token="+token))
		require.NoError(t, err)
		form.Host, form.Header = r.Host, r.Header
		form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r = form
	}
	return do(t, r)
}

func TestLink(t *testing.T) {
	w := newWorld(t, onlyTokens(), newApp(t, echo), access.HTTP)
	for _, script := range []bool{true, false} {
		page := w.get(t, "/any//path?a=b&maintenance-bypass")
		assert.Equal(t, 200, page.status)
		assert.Contains(t, page.body, "<form")
		assert.Equal(t, "no-store", page.header.Get("Cache-Control"))
		assert.Contains(t, page.header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
		assert.Equal(t, "same-origin", page.header.Get("Referrer-Policy"))

		got := w.exchange(t, "/any//path?a=b&maintenance-bypass&c=%20", anna, script, "Origin", "https://shop.example")
		assert.Equal(t, map[bool]int{true: 204, false: 303}[script], got.status)
		assert.Equal(t, []string{map[bool]string{true: "?a=b&c=%20", false: "?a=b&c=%20#"}[script]}, got.header["Location"], "the fragment is not inherited")
		set := got.header.Get("Set-Cookie")
		cookie, err := http.ParseSetCookie(set)
		require.NoError(t, err)
		assert.Equal(t, access.SecureCookieName(secret), cookie.Name)
		assert.True(t, cookie.Secure && cookie.HttpOnly && cookie.SameSite == http.SameSiteLaxMode && cookie.Path == "/" && cookie.Domain == "", set)
		assert.Equal(t, int(DefaultLifetime.Seconds()), cookie.MaxAge)
		assert.NotContains(t, set, anna)
		assert.Equal(t, "cookie", w.get(t, "/x", "Cookie", cookie.Name+"="+cookie.Value).by())
	}
	got := w.exchange(t, "/?maintenance-bypass", anna, false, "Origin", "http://shop.example")
	cookie, err := http.ParseSetCookie(got.header.Get("Set-Cookie"))
	require.NoError(t, err)
	assert.Equal(t, access.CookieName(secret), cookie.Name, "without TLS browsers do not keep the secure one")
	assert.False(t, cookie.Secure)
	assert.Equal(t, uint64(3), w.bypass.counts.cookies.Load())
	assert.NotContains(t, w.log.String(), anna)
}

// TestLinkRejectsOtherOrigins: a page of another origin cannot make a browser accept a
// cookie, and a wrong token does not set one.
func TestLinkRejectsOtherOrigins(t *testing.T) {
	w := newWorld(t, onlyTokens(), newApp(t, echo), access.HTTP)
	const here = "https://shop.example"
	for _, test := range []struct {
		name, token string
		header      []string
		status      int
	}{
		{"ours", anna, []string{"Origin", here}, 204},
		{"ours, with the port", anna, []string{"Origin", here + ":443"}, 204},
		{"ours, by Sec-Fetch-Site", anna, []string{"Sec-Fetch-Site", "same-origin"}, 204},
		{"ours, with Host rewritten in front", anna, []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://public.example"}, 204},
		{"another site", anna, []string{"Origin", "https://evil.example"}, 403},
		{"one that begins like ours", anna, []string{"Origin", here + ".evil.example"}, 403},
		{"one that ends like ours", anna, []string{"Origin", "https://evil-shop.example"}, 403},
		{"another port", anna, []string{"Origin", here + ":8443"}, 403},
		{"another scheme", anna, []string{"Origin", "ftp://shop.example"}, 403},
		{"a frame without origin", anna, []string{"Origin", "null"}, 403},
		{"no origin", anna, nil, 403},
		{"two origins", anna, []string{"Origin", here, "Origin", "https://evil.example"}, 403},
		{"the same site", anna, []string{"Origin", here, "Sec-Fetch-Site", "same-site"}, 403},
		{"another site, by Sec-Fetch-Site", anna, []string{"Origin", here, "Sec-Fetch-Site", "cross-site"}, 403},
		{"a wrong token", job + "x", []string{"Origin", here}, 403},
		{"no token", "", []string{"Origin", here}, 403},
	} {
		for _, script := range []bool{true, false} {
			got := w.exchange(t, "/?maintenance-bypass", test.token, script, test.header...)
			want := test.status
			if want == 204 && !script {
				want = 303
			}
			assert.Equal(t, want, got.status, test.name)
			assert.Equal(t, want != 403, got.header.Get("Set-Cookie") != "", test.name)
			if want == 403 {
				assert.Contains(t, got.body, `role="alert">`, "the page says so")
			}
		}
	}
	assert.Equal(t, map[access.Why]uint64{whyForeign: 20, access.WrongToken: 4}, w.bypass.Summary().Page)
	huge := w.exchange(t, "/?maintenance-bypass", strings.Repeat("x", 2*maxForm), false, "Origin", here)
	assert.Equal(t, 403, huge.status)
}

// TestLinkRedirect: a link leads back to its own address, and to no other host.
func TestLinkRedirect(t *testing.T) {
	w := newWorld(t, onlyTokens(), newApp(t, echo), access.HTTP)
	for target, want := range map[string]string{
		"/?maintenance-bypass":                             "?",
		"//evil.example/?maintenance-bypass":               "?",
		"/%5Cevil.example?maintenance-bypass&//evil":       "?//evil",
		"/?maintenance-bypass&https://evil.example":        "?https://evil.example",
		"/?maintenance-bypass=&a=%0d%0aSet-Cookie:x=y":     "?a=%0d%0aSet-Cookie:x=y",
		"/?a&maintenance-bypass&b=maintenance-bypass&&c=%": "?a&b=maintenance-bypass&&c=%",
	} {
		got := w.exchange(t, target, anna, true, "Sec-Fetch-Site", "same-origin")
		assert.Equal(t, 204, got.status, target)
		assert.Equal(t, []string{want}, got.header["Location"], target)
	}
	for _, target := range []string{"/?xmaintenance-bypass", "/?maintenance-bypassx", "/?maintenance-bypass=on", "/?Maintenance-bypass", "/?maintenance%2Dbypass", "/maintenance-bypass"} {
		assert.True(t, w.get(t, target).fromPage(), "%s is not a link", target)
		assert.True(t, w.get(t, target, access.Header, anna).fromApp(), "%s is for the app", target)
	}
	assert.True(t, do(t, w.ask(t, http.MethodPut, "/?maintenance-bypass", access.Header, anna)).fromApp(), "links answer only GET, HEAD and POST")
}

func TestLinkOff(t *testing.T) {
	w := newWorld(t, onlyTokens(), newApp(t, echo), access.HTTP)
	got := w.get(t, "/x?a=b&maintenance-bypass=off", "Cookie", w.cookie(t, anna))
	assert.Equal(t, 303, got.status)
	assert.Equal(t, "?a=b#", got.header.Get("Location"))
	gone := map[string]bool{}
	for _, line := range got.header["Set-Cookie"] {
		cookie, err := http.ParseSetCookie(line)
		require.NoError(t, err)
		gone[cookie.Name] = cookie.MaxAge < 0 && cookie.Path == "/" && cookie.Secure == strings.HasPrefix(cookie.Name, "__Host-")
	}
	assert.Equal(t, map[string]bool{access.CookieName(secret): true, access.SecureCookieName(secret): true}, gone)
}

func TestNoLinksWithoutASecret(t *testing.T) {
	w := newWorld(t, access.Settings{ReadOnly: true}, newApp(t, echo), access.HTTP)
	assert.True(t, w.get(t, "/?maintenance-bypass").fromApp())
	assert.True(t, do(t, w.ask(t, http.MethodPost, "/?maintenance-bypass", "Origin", "https://shop.example", access.Header, anna)).fromPage())
}

// TestLinkLanguages: links have the languages of the built-in page.
func TestLinkLanguages(t *testing.T) {
	w := newWorld(t, onlyTokens(), newApp(t, echo), access.HTTP)
	keys := regexp.MustCompile(`^page\.(.+)\.html$`)
	n := 0
	for key := range pages.Default().Bodies {
		m := keys.FindStringSubmatch(key)
		if m == nil {
			continue
		}
		n++
		got := w.get(t, "/?maintenance-bypass", "Accept-Language", m[1])
		assert.Contains(t, got.body, `<html lang="`+m[1]+`"`)
		assert.NotContains(t, got.body, "{{")
	}
	assert.Equal(t, len(words()), n)
	assert.Contains(t, w.get(t, "/?maintenance-bypass", "Accept-Language", "ar-EG").body, `dir="rtl"`)
	assert.Contains(t, w.get(t, "/?maintenance-bypass", "Accept-Language", "xx").body, `<html lang="en"`)
}
