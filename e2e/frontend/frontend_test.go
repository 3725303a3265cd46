// Package frontend tests the example front end of docs/examples in a browser, with the HTTP API on
// another origin.
package frontend

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/api"
)

// content is the content of the API's answers.
type content struct {
	services []api.Service
	rows     []api.Row
}

func (t content) Services() ([]api.Service, bool) { return t.services, true }
func (t content) Rows() ([]api.Row, bool)         { return t.rows, true }

// dom returns the front end's DOM after its scripts ran in a browser. allowed says whether the API
// allows its origin.
func dom(t *testing.T, what content, allowed bool) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/examples/front-end.html")
	require.NoError(t, err)
	var apiURL string
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(strings.NewReplacer("https://status.example", apiURL, `data-host=""`, `data-host="shop.example"`).Replace(string(text))))
	}))
	t.Cleanup(front.Close)
	config := api.Config{Services: what, Maintenance: what}
	if allowed {
		config.Origins = []string{front.URL}
	}
	server := httptest.NewServer(api.New(config))
	t.Cleanup(server.Close)
	apiURL = server.URL
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
		"--virtual-time-budget=5000", "--dump-dom", front.URL).Output()
	require.NoError(t, err)
	return string(out)
}

func TestFrontEnd(t *testing.T) {
	working := api.Row{
		Kind: "Ingress", Namespace: "shop", Name: "web", Hosts: []string{"shop.example"}, State: "active", Since: time.Now(), Reason: "<b>New</b> database.", Page: "default",
	}
	stuck, refused := working, working
	stuck.State, refused.State, refused.Since = "blocked", "blocked", time.Time{}
	other := working
	other.Hosts = []string{"blog.example"}
	down := api.Service{Namespace: "shop", Name: "payments", Known: true, Critical: true}
	for name, c := range map[string]struct {
		what    content
		allowed bool
		want    string
	}{
		"in maintenance":            {content{rows: []api.Row{working}}, true, `<p id="notice" role="status">We are working on it. &lt;b&gt;New&lt;/b&gt; database.</p>`},
		"blocked on the page":       {content{rows: []api.Row{stuck}}, true, `We are working on it.`},
		"blocked on the app":        {content{rows: []api.Row{refused}}, true, `<p id="notice" role="status" hidden=""></p>`},
		"something is down":         {content{services: []api.Service{down}, rows: []api.Row{other}}, true, `<p id="notice" role="status">Some of this does not work at the moment: payments.</p>`},
		"all is well":               {content{rows: []api.Row{other}}, true, `<p id="notice" role="status" hidden=""></p>`},
		"the origin is not allowed": {content{rows: []api.Row{working}}, false, `<p id="notice" role="status" hidden=""></p>`},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Contains(t, dom(t, c.what, c.allowed), c.want)
		})
	}
}
