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

// matrixFile takes the rows of the documents' table; `make matrix` names it.
var matrixFile = flag.String("matrix", "", "file that TestDataPlanes appends what it has measured to")

// dataPlane is an ingress controller.
type dataPlane struct {
	name, version string
	class         string // of Ingresses and Gateways
	at            string // where visitors ask
	port          int    // of a Gateway's listener
}

// crossing is a kind of target through a data plane.
type crossing struct {
	dataPlane
	kind     target.Kind
	always   bool // in each run, and not only at length
	manifest func(c crossing, host string) string
}

// TestDataPlanes switches targets under load, through two data planes that share no
// code: whoever asks gets the app or the page, and callers over gRPC UNAVAILABLE.
func TestDataPlanes(t *testing.T) {
	w := newWorld(t)
	t.Parallel()
	rounds, all := 5, *long || *matrixFile != ""
	switch {
	case *long:
		rounds = 50
	case all:
		rounds = 20
	}
	for _, c := range crossings(w) {
		if !c.always && !all {
			continue
		}
		t.Run(c.name+" "+c.kind.Name, func(t *testing.T) {
			t.Parallel()
			m := newWorld(t).cross(c, rounds)
			t.Log(m)
			tally.Tell(t, "requests sent", int64(m.answers))
			tally.Tell(t, "wrong answers", int64(m.wrong))
			tally.Tell(t, "toggles", int64(m.switches))
			if *matrixFile != "" {
				require.NoError(t, m.write(*matrixFile))
			}
		})
	}
}

func crossings(w *world) []crossing {
	version := func(p binaries.Program) string {
		v, err := p.Version()
		require.NoError(w, err)
		return strings.TrimPrefix(v, "v")
	}
	at, err := site.StartHAProxyIngress(w.Context())
	require.NoError(w, err)
	traefik := dataPlane{name: "Traefik", version: version(binaries.Traefik()), class: cluster.GatewayClass, at: site.TraefikURL(), port: site.TraefikPort()}
	haproxy := dataPlane{name: "HAProxy Ingress", version: version(binaries.HAProxyIngress()), class: cluster.HAProxyClass, at: at, port: 80}
	ofClass := func(c crossing, host string) string {
		return strings.Replace(ingress("my-app", host, "my-app", 80), "spec:", "spec:\n  ingressClassName: "+c.class, 1)
	}
	plain := func(_ crossing, host string) string { return ingress("my-app", host, "my-app", 80) }
	route := func(_ crossing, host string) string { return ingressRoute("my-app", host, "name: my-app, port: 80") }
	gateway := func(c crossing, host string) string {
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
	return []crossing{
		{dataPlane: traefik, kind: target.Ingress(), manifest: plain},
		{dataPlane: traefik, kind: target.IngressRoute(), manifest: route},
		{dataPlane: traefik, kind: target.HTTPRoute(), manifest: gateway, always: true},
		{dataPlane: traefik, kind: target.GRPCRoute(), manifest: gateway, always: true},
		{dataPlane: haproxy, kind: target.Ingress(), manifest: ofClass, always: true},
		{dataPlane: haproxy, kind: target.HTTPRoute(), manifest: gateway, always: true},
	}
}

// measured is what came of it.
type measured struct {
	crossing
	switches, wrong, answers int
	firstPage, lastApp       time.Duration // after the swap, at most
}

func (m measured) String() string {
	return fmt.Sprintf("%s %s, %s: %d wrong of %d answers in %d switches, the first page after %s, the last app after %s",
		m.name, m.version, m.kind.Name, m.wrong, m.answers, m.switches, m.firstPage, m.lastApp)
}

// write appends a row.
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

// crossRate is how many visitors of one target come in a second.
const crossRate = 40

// crossLag is twice the time for which both data planes gather changes: nothing is
// promised of when the last visitor gets the page after the end of maintenance.
const crossLag = 4 * time.Second

// cross switches a target on and off under load.
func (w *world) cross(c crossing, rounds int) measured {
	w.Helper()
	w.watchSoundness()
	host := w.host("my-app")
	program, way := "/sample-app", ask
	if c.kind.Name == "GRPCRoute" {
		caller := w.caller(c.at, host)
		program, way = "/grpc-app", caller
	}
	w.apply(appOf("my-app", program, ""), c.manifest(c, host))
	first := visit{method: http.MethodGet, at: c.at, host: host, path: "/", as: formats[0], fresh: true}
	require.Eventually(w, func() bool {
		for range 10 { // until it is replaced, a process that has heard nothing of it may answer
			if !fromApp(way(w.Context(), first)) {
				return false
			}
		}
		return true
	}, patience, 50*time.Millisecond, "the app is reached through %s", c.name)
	s := w.subject(c.kind.Name, "my-app", host)
	s.lag = crossLag
	spec := w.spec(s.object())
	l := w.loadBy(way, crossRate, c.at, host)
	l.await(crossRate)
	m := measured{crossing: c}
	var swaps, restores []time.Time
	for range rounds {
		s.switches()
		w.on(s.object())
		s.await("is on the page", onPage)
		swaps = append(swaps, time.Now())
		s.await("shows the page", showsPage)
		l.awaitSince(s.settled(), crossRate/2)
		restores = append(restores, time.Now())
		s.switches()
		w.off(s.object())
		s.await("is restored", isClean)
		l.awaitSince(s.settled(), crossRate/2)
		m.switches += 2
	}
	assert.Equal(w, spec, w.spec(s.object()))
	l.stop()
	m.answers, m.wrong = len(l.answers), len(l.holes())
	w.report("answers from whom they should not be", s.judge(l.answers).wrong)
	for i := range swaps {
		firstPage, lastApp := l.followed(swaps[i], restores[i])
		m.firstPage, m.lastApp = max(m.firstPage, firstPage), max(m.lastApp, lastApp)
	}
	w.untilClean()
	return m
}

// followed says how long after a swap the first page was shown, and the app for the last
// time before the restore. It is for a load that has stopped.
func (l *load) followed(swap, restore time.Time) (firstPage, lastApp time.Duration) {
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

// caller asks over gRPC, on a connection of its own, as grpc-go does.
func (w *world) caller(at, host string) func(context.Context, visit) answer {
	w.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(at, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(host))
	require.NoError(w, err)
	w.Cleanup(func() { _ = conn.Close() })
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
