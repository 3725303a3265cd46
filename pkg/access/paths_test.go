package access

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestOpenPaths(t *testing.T) {
	paths := []string{"/admin", "/webhooks/", "/caf\u00e9"}
	for raw, want := range map[string]bool{
		"/admin":                      true,
		"/admin/":                     true,
		"/admin/users/7":              true,
		"/%61dmin":                    true,
		"/administrator":              false,
		"/admin-old":                  false,
		"/Admin":                      false,
		"/webhooks":                   false,
		"/webhooks/":                  true,
		"/webhooks/stripe":            true,
		"/caf%C3%A9/menu":             true,
		"/x/admin":                    false,
		"/":                           false,
		"":                            false,
		"*":                           false,
		"admin":                       false,
		"//admin":                     false,
		"/admin//users":               false,
		"/admin/../secret":            false,
		"/admin/..":                   false,
		"/./admin":                    false,
		"/admin/.":                    false,
		"/admin/...":                  true,
		"/admin/v1.2":                 true,
		"/admin/%2e%2e/x":             false,
		"/admin/.%2E/x":               false,
		"/admin%2fusers":              false,
		"/admin/%5c..":                false,
		`/admin\..\secret`:            false,
		"/admin;v=1":                  false,
		"/admin/..;/secret":           false,
		"/admin%3bx":                  false,
		"/admin/%252e%252e":           false,
		"/admin/%25":                  false,
		"/admin%00":                   false,
		"/admin/%0d%0ax":              false,
		"/admin/%c0%ae":               false,
		"/admin/%2":                   false,
		"/admin/%EF%BC%8E%EF%BC%8E/x": false,
		"/admin/\u2025/x":             false,
		"/admin/%zz":                  false,
		"/admin/a b":                  true,
		"/admin/%20":                  true,
	} {
		assert.Equal(t, want, open(paths, raw), raw)
	}
}

func TestParseOpenPaths(t *testing.T) {
	got, err := ParseOpenPaths(" /webhooks/ ,/admin,, /admin ")
	assert.NoError(t, err)
	assert.Equal(t, []string{"/admin", "/webhooks/"}, got)
	for list, says := range map[string]string{
		"/":                                    "open everything",
		"admin":                                "does not begin with /",
		"/a/../b":                              `".."`,
		"/a//b":                                "//",
		"/a%2fb":                               "percent-encoded",
		"/a?x":                                 "without ?,",
		"/api/*":                               "without ?,",
		"/a;b":                                 ";",
		"/" + strings.Repeat("x", MaxOpenPath): "bytes",
		"/%zz":                                 "percent-encoded",
	} {
		got, err := ParseOpenPaths("/good, " + list)
		assert.ErrorContains(t, err, says, list)
		assert.Equal(t, []string{"/good"}, got, "%s: the valid paths are kept", list)
	}
	var many []string
	for n := range MaxOpenPaths + 1 {
		many = append(many, "/"+strings.Repeat("x", n+1))
	}
	got, err = ParseOpenPaths(strings.Join(many, ","))
	assert.ErrorContains(t, err, "at most 64")
	assert.Empty(t, got)
}

// FuzzOpen checks open paths against what apps make of a path: however often it is decoded,
// cleaned and stripped of parameters, it stays below an open path.
func FuzzOpen(f *testing.F) {
	for _, raw := range []string{"/admin", "/admin/x", "/admin/../x", "/admin/%2e%2e/x", "/admin/..;/x", "/admin/%252e%252e/x", `/admin\..\x`, "//admin", "/admin/%c0%ae%c0%ae/"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if !open([]string{"/admin"}, raw) {
			return
		}
		below := func(p string) bool { return p == "/admin" || strings.HasPrefix(p, "/admin/") }
		for range 3 {
			decoded, err := url.PathUnescape(raw)
			if err != nil {
				t.Fatalf("%q cannot be decoded", raw)
			}
			bare, _, _ := strings.Cut(decoded, ";")
			for _, p := range []string{decoded, path.Clean(decoded), path.Clean(bare), path.Clean(strings.ReplaceAll(decoded, `\`, "/"))} {
				if !below(p) {
					t.Errorf("%q is open, but some programs read it as %q", raw, p)
				}
			}
			raw = decoded
			if strings.Contains(raw, "%") {
				t.Fatalf("%q can be decoded twice", raw)
			}
		}
	})
}
