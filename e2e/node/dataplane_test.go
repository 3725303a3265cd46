package node

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/target"
)

// matrixFile receives the rows of the table in docs/gateway-api.md. `make matrix` sets it.
var matrixFile = flag.String("matrix", "", "file that TestDataPlanes appends its measurements to")

// dataPlane is an ingress controller.
type dataPlane struct {
	name, version string
	class         string // of Ingresses and Gateways
	at            string // base URL for visitors
	port          int    // of a Gateway's listener
}

// combination is a kind of target behind a data plane.
type combination struct {
	dataPlane
	kind     target.Kind
	always   bool // also in short runs
	manifest func(c combination, host string) string
}

// TestDataPlanes switches targets under load behind two ingress controllers that share no
// code. Every answer must come from the app or the page, which is UNAVAILABLE over gRPC.
func TestDataPlanes(t *testing.T) {
	e := newEnv(t)
	t.Parallel()
	rounds, all := 5, *long || *matrixFile != ""
	switch {
	case *long:
		rounds = 50
	case all:
		rounds = 20
	}
	for _, c := range combinations(e) {
		if !c.always && !all {
			continue
		}
		t.Run(c.name+" "+c.kind.Name, func(t *testing.T) {
			t.Parallel()
			m := newEnv(t).measure(c, rounds)
			t.Log(m)
			tally.Report(t, "requests sent", int64(m.answers))
			tally.Report(t, "wrong answers", int64(m.wrong))
			tally.Report(t, "toggles", int64(m.switches))
			if *matrixFile != "" {
				require.NoError(t, m.write(*matrixFile))
			}
		})
	}
}

// combinations starts HAProxy Ingress and returns all kinds and data planes to test.
func combinations(e *env) []combination {
	version := func(p binaries.Program) string {
		v, err := p.Version()
		require.NoError(e, err)
		return strings.TrimPrefix(v, "v")
	}
	at, err := site.StartHAProxyIngress(e.Context())
	require.NoError(e, err)
	traefik := dataPlane{name: "Traefik", version: version(binaries.Traefik()), class: cluster.GatewayClass, at: site.TraefikURL(), port: site.TraefikPort()}
	haproxy := dataPlane{name: "HAProxy Ingress", version: version(binaries.HAProxyIngress()), class: cluster.HAProxyClass, at: at, port: 80}
	ofClass := func(c combination, host string) string {
		return strings.Replace(ingress("my-app", host, "my-app", 80), "spec:", "spec:\n  ingressClassName: "+c.class, 1)
	}
	plain := func(_ combination, host string) string { return ingress("my-app", host, "my-app", 80) }
	route := func(_ combination, host string) string { return ingressRoute("my-app", host, "name: my-app, port: 80") }
	gateway := func(c combination, host string) string {
		return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec: {gatewayClassName: %s, listeners: [{name: http, port: %d, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: %s
metadata: {name: my-app}
spec:
  parentRefs: [{name: web}]
  hostnames: [%s]
  rules: [{backendRefs: [{name: my-app, port: 80}]}]
`, c.class, c.port, c.kind.Name, host)
	}
	return []combination{
		{dataPlane: traefik, kind: target.Ingress(), manifest: plain},
		{dataPlane: traefik, kind: target.IngressRoute(), manifest: route},
		{dataPlane: traefik, kind: target.HTTPRoute(), manifest: gateway, always: true},
		{dataPlane: traefik, kind: target.GRPCRoute(), manifest: gateway, always: true},
		{dataPlane: haproxy, kind: target.Ingress(), manifest: ofClass, always: true},
		{dataPlane: haproxy, kind: target.HTTPRoute(), manifest: gateway, always: true},
	}
}

// measured is the result for one combination.
type measured struct {
	combination
	switches, wrong, answers int
	firstPage, lastApp       time.Duration // the longest of all rounds, counted from the swap
}

func (m measured) String() string {
	return fmt.Sprintf("%s %s, %s: %d wrong of %d answers in %d switches, the first page at most %s and the last app at most %s after the swap",
		m.name, m.version, m.kind.Name, m.wrong, m.answers, m.switches, m.firstPage, m.lastApp)
}

// write appends a row of the table.
func (m measured) write(file string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	seconds := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s" }
	_, err = fmt.Fprintf(f, "| %s | %s | %s | %d of %d answers in %d switches | %s | %s |\n",
		m.name, m.version, m.kind.Name, m.wrong, m.answers, m.switches, seconds(m.firstPage), seconds(m.lastApp))
	return cmp.Or(err, f.Close())
}

// measureRate is the number of visitors per second for one target.
const measureRate = 40

// measure switches a target on and off under load and returns the result.
func (e *env) measure(c combination, rounds int) measured {
	e.Helper()
	e.watchSoundness()
	host := e.host("my-app")
	program := "/sample-app"
	if c.kind.Name == "GRPCRoute" {
		program = "/grpc-app"
	}
	e.apply(appOf("my-app", program, ""), c.manifest(c, host))
	e.untilFollowed(c, host, fromApp)
	s := e.subject(c.kind.Name, "my-app", host)
	s.asked = true
	spec := e.spec(s.object())
	l := e.loadBy(e.askerOf(c, host), measureRate, c.at, host)
	l.await(measureRate)
	m := measured{combination: c}
	var swaps, restores []time.Time
	for range rounds {
		s.expectAppOrPage()
		e.on(s.object())
		s.await("is on the page", onPage)
		swaps = append(swaps, time.Now())
		s.await("shows the page", showsPage)
		l.awaitSince(s.settled(), measureRate/2)
		restores = append(restores, time.Now())
		s.expectAppOrPage()
		e.off(s.object())
		s.await("is restored", isClean)
		// No time is promised for a restore, which each data plane follows as soon as it can: until
		// its answers show that it has, the app or the page may answer.
		e.untilFollowed(c, host, fromApp)
		// A connection that was idle while HAProxy was replaced is answered once more by the
		// process that it leads to.
		l.kept.CloseIdleConnections()
		s.expect(anApp, time.Now().Add(activeLag))
		l.awaitSince(s.settled(), measureRate/2)
		m.switches += 2
	}
	assert.Equal(e, spec, e.spec(s.object()))
	l.stop()
	m.answers, m.wrong = len(l.answers), len(l.wrongAnswers())
	e.assertNone("unexpected answers", s.judge(l.answers).wrong)
	for i := range swaps {
		firstPage, lastApp := l.delays(swaps[i], restores[i])
		m.firstPage, m.lastApp = max(m.firstPage, firstPage), max(m.lastApp, lastApp)
	}
	e.untilClean()
	return m
}

// askerOf returns a function that visits a host as the combination's clients do.
func (e *env) askerOf(c combination, host string) func(context.Context, visit) answer {
	e.Helper()
	if c.kind.Name == "GRPCRoute" {
		return e.caller(c.at, host)
	}
	return ask
}

// untilFollowed waits until ten answers in a row are ok: a proxy process that is being replaced may
// answer by its old configuration.
func (e *env) untilFollowed(c combination, host string, ok func(answer) bool) {
	e.Helper()
	askBy, first := e.askerOf(c, host), visit{method: http.MethodGet, at: c.at, host: host, path: "/", as: formats[0], fresh: true}
	require.Eventually(e, func() bool {
		for range 10 {
			if !ok(askBy(e.Context(), first)) {
				return false
			}
		}
		return true
	}, waitTimeout, 50*time.Millisecond, "%s does not follow: %s", c.name, host)
}

// delays returns the times from a swap to the first page, and to the app's last answer
// before the restore. The load must have stopped.
func (l *load) delays(swap, restore time.Time) (firstPage, lastApp time.Duration) {
	for _, a := range l.answers {
		after := a.ended().Sub(swap)
		switch {
		case after < 0 || !a.started.Before(restore):
		case fromPage(a) && firstPage == 0:
			firstPage = after
		case fromApp(a):
			lastApp = max(lastApp, after)
		}
	}
	return firstPage, lastApp
}

// caller returns a function that calls the app with grpc-go, on one connection.
func (e *env) caller(at, host string) func(context.Context, visit) answer {
	e.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(at, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(host))
	require.NoError(e, err)
	e.Cleanup(func() { _ = conn.Close() })
	client := grpc_health_v1.NewHealthClient(conn)
	return func(ctx context.Context, v visit) answer {
		a := answer{visit: v, started: time.Now()}
		var header, trailer metadata.MD
		got, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.Header(&header), grpc.Trailer(&trailer))
		a.took = time.Since(a.started)
		key := strings.ToLower(page.MarkerHeader)
		set := strings.Join(append(header.Get(key), trailer.Get(key)...), "")
		switch code := status.Code(err); {
		case err == nil && got.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING && set == "":
			a.from = anApp
		case code == codes.Unavailable && setName.MatchString(set):
			a.from = set
		default:
			a.status, a.wrong = int(code), fmt.Sprintf("neither the app nor the page: %v, header %v, trailer %v", err, header, trailer)
		}
		return a
	}
}
