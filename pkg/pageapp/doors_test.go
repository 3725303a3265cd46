package pageapp

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/page"
)

const token = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"

// withDoors mounts the page with a door to each app, and returns the ports of the doors.
func withDoors(t *testing.T, apps ...*httptest.Server) (options, []int) {
	t.Helper()
	settings := access.Settings{BypassSecret: "team", OpenPaths: []string{"/open"}}
	var ports []int
	free := freePorts(t, len(apps)+1)
	for i, app := range apps {
		host, port, err := net.SplitHostPort(app.Listener.Addr().String())
		require.NoError(t, err)
		number, err := strconv.Atoi(port)
		require.NoError(t, err)
		settings.Doors = append(settings.Doors, access.Door{Name: access.DoorName(i + 1), Scheme: access.Auto, Host: host, Port: number})
		_, port, err = net.SplitHostPort(free[i])
		require.NoError(t, err)
		number, err = strconv.Atoi(port)
		require.NoError(t, err)
		ports = append(ports, number)
	}
	p := pages.Default()
	return options{
		pageDir: mount(t, access.Data(p, settings)), pageSet: page.SetName(access.Hash(p, settings)),
		bypassDir: mount(t, map[string]string{access.SecretKey: "anna " + token}),
		listen:    "127.0.0.1:0", metricsListen: free[len(apps)], logFormat: "json", logLevel: "info", accessLog: true,
		doorPort: func(d access.Door) int { return ports[d.ContainerPort()-access.Door{Name: "d1"}.ContainerPort()] },
	}, ports
}

func TestRunServesDoors(t *testing.T) {
	app := func(name string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
		t.Cleanup(s.Close)
		return s
	}
	o, ports := withDoors(t, app("shop"), app("api"))
	logs, w := io.Pipe()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, o, w) }()
	lines := bufio.NewScanner(logs)
	lines.Scan()
	var serving struct {
		Address string
		Doors   int
	}
	require.NoError(t, json.Unmarshal(lines.Bytes(), &serving), lines.Text())
	assert.Equal(t, 2, serving.Doors)
	logged := make(chan string, 20)
	go func() {
		for lines.Scan() {
			logged <- lines.Text()
		}
	}()
	get := func(address, path string, header ...string) (int, string) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
		require.NoError(t, err)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}
	for i, want := range []string{"shop", "api"} {
		door := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i]))
		status, _ := get(door, "/")
		assert.Equal(t, 503, status)
		status, _ = get(door, page.ReadyPath)
		assert.Equal(t, 200, status)
		_, body := get(door, "/", access.Header, token)
		assert.Equal(t, want, body, "the port selects the app")
	}
	status, _ := get(serving.Address, "/open", access.Header, token)
	assert.Equal(t, 503, status, "the page's port lets nobody through")

	for metrics := ""; !strings.Contains(metrics, `maintenance_page_let_through_total{door="d2",by="header"} 1`); { // it is counted after the answer
		require.NoError(t, t.Context().Err())
		_, metrics = get(o.metricsListen, "/metrics")
	}
	_, summary := get(o.metricsListen, access.SummaryPath)
	var sum access.Summary
	require.NoError(t, json.Unmarshal([]byte(summary), &sum))
	assert.Equal(t, o.pageSet, sum.PageSet)
	assert.Equal(t, uint64(2), sum.Holders["anna"].Requests)
	assert.NotContains(t, summary, token)
	var let string
	for !strings.Contains(let, "let through") {
		let = <-logged
	}
	assert.Contains(t, let, `"holder":"anna"`)
	assert.NotContains(t, let, token)
	stop()
	assert.NoError(t, <-done)
	_ = w.Close()
}

// TestStopWaitsForRequests: an upload to an app that has begun is completed although the Pod
// is stopping.
func TestStopWaitsForRequests(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-end
		_, _ = io.WriteString(w, "done")
	}))
	defer app.Close()
	o, ports := withDoors(t, app)
	logs, w := io.Pipe()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, o, w) }()
	lines := bufio.NewScanner(logs)
	next := func(message string) {
		for lines.Scan() {
			if strings.Contains(lines.Text(), `"message":"`+message+`"`) {
				return
			}
		}
	}
	next("serving")
	door := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))
	answered := make(chan string, 1)
	go func() {
		response, err := http.Post("http://"+door+"/open", "text/plain", strings.NewReader("x"))
		if err != nil {
			answered <- err.Error()
			return
		}
		defer func() { _ = response.Body.Close() }()
		body, _ := io.ReadAll(response.Body)
		answered <- string(body)
	}()
	<-began
	stop()
	next("draining")
	go func() { _, _ = io.Copy(io.Discard, logs) }()
	for { // until no new connections are accepted
		c, err := net.Dial("tcp", door)
		if err != nil {
			break
		}
		_ = c.Close()
	}
	close(end)
	assert.Equal(t, "done", <-answered)
	assert.NoError(t, <-done)
	_ = w.Close()
	var none *doors
	page := http.NewServeMux()
	assert.Same(t, page, none.handler(page), "without doors the page's handler is used directly")
	assert.Zero(t, none.stopTime(), "without doors the default applies")
	assert.Equal(t, access.StopTime, (&doors{}).stopTime())
}

// TestDoorPortInUse: the page is not ready if a door cannot listen.
func TestDoorPortInUse(t *testing.T) {
	app := httptest.NewServer(http.NotFoundHandler())
	defer app.Close()
	o, ports := withDoors(t, app)
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])))
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	assert.ErrorContains(t, run(context.Background(), o, io.Discard), "door d1")
}

func TestLoadRefusesOtherSettings(t *testing.T) {
	app := httptest.NewServer(http.NotFoundHandler())
	defer app.Close()
	o, _ := withDoors(t, app)
	_, err := load(o.pageDir, anySet, "")
	assert.ErrorContains(t, err, "not to --page-set")
	_, err = load(mount(t, map[string]string{"page.html": "x", access.Key: "{}"}), anySet, "")
	assert.ErrorContains(t, err, access.Key)
	p := pages.Default()
	assert.Equal(t, page.SetName(p.Hash()), page.SetName(access.Hash(p, access.Settings{})), "without settings the name is that of the page alone")
}
