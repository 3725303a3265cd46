// Package faultproxy is a proxy in front of a real API server. It makes calls fail in
// the ways in which they fail in practice.
package faultproxy

import (
	"context"
	"encoding/pem"
	"fmt"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// FaultFunc returns the fault to inject into a call, or nil for none. It is called once
// per call, concurrently.
type FaultFunc func(Call) *Fault

// Proxy is an HTTPS server in front of an API server.
type Proxy struct {
	server   *httptest.Server
	upstream http.Handler // passes calls on to the API server

	mu      sync.Mutex
	faults  FaultFunc
	onCall  func(Call)
	counts  Counts
	watches map[*context.CancelFunc]bool // the open ones
}

// Counts are of the calls since the proxy was started.
type Counts struct {
	Calls  int
	Faults map[string]int // by the fault's name
	Writes map[string]int // that reached the API server, by Call.String
	// Answers of the API server by HTTP status, whether or not the client got them.
	Answers map[int]int
}

// Injected is how many calls got a fault.
func (c Counts) Injected() (n int) {
	for _, times := range c.Faults {
		n += times
	}
	return n
}

// Start listens on a loopback port. It passes calls on to the API server with the
// credentials of upstream, or with the client's own if upstream has none.
func Start(upstream *rest.Config, faults FaultFunc) (*Proxy, error) {
	at, err := url.Parse(upstream.Host)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	transport, err := rest.TransportFor(upstream)
	if err != nil {
		return nil, fmt.Errorf("connection to the API server: %w", err)
	}
	p := &Proxy{faults: faults, watches: map[*context.CancelFunc]bool{}, counts: Counts{Faults: map[string]int{}, Writes: map[string]int{}, Answers: map[int]int{}}}
	p.upstream = &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(at) },
		Transport: transport,
		ModifyResponse: func(r *http.Response) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.counts.Answers[r.StatusCode]++
			return nil
		},
		FlushInterval: -1, // pass each event of a watch on at once
		ErrorLog:      log.New(discardLog{}, "", 0),
		// If the API server is down, the client sees what it would see without a proxy.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	p.server.EnableHTTP2 = true
	p.server.Config.ErrorLog = log.New(discardLog{}, "", 0) // about clients that were killed
	p.server.StartTLS()
	return p, nil
}

// discardLog drops the log of the HTTP servers: it is about the injected faults.
type discardLog struct{}

func (discardLog) Write(b []byte) (int, error) { return len(b), nil }

// SetFaults replaces the FaultFunc for all later calls; nil injects no faults.
func (p *Proxy) SetFaults(faults FaultFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = faults
}

// OnCall sets a function that is called with each later call, before any fault.
func (p *Proxy) OnCall(f func(Call)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onCall = f
}

// Counts returns a copy of the counts.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	c.Faults, c.Writes, c.Answers = maps.Clone(c.Faults), maps.Clone(c.Writes), maps.Clone(c.Answers)
	return c
}

// WriteKubeconfig writes a kubeconfig for the proxy, with these credentials.
func (p *Proxy) WriteKubeconfig(path string, user clientcmdapi.AuthInfo) error {
	const name = "faultproxy"
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw})
	config := clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: p.server.URL, CertificateAuthorityData: ca}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: &user},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}
	if err := clientcmd.WriteToFile(config, path); err != nil {
		return fmt.Errorf("write the kubeconfig of the proxy: %w", err)
	}
	return nil
}

// EndWatches ends all open watches and returns how many there were.
func (p *Proxy) EndWatches() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.watches)
	for cancel := range p.watches {
		(*cancel)()
	}
	clear(p.watches)
	return n
}

// Watches returns how many watches are open.
func (p *Proxy) Watches() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.watches)
}

// Close closes all connections, also those that a fault keeps open.
func (p *Proxy) Close() {
	p.server.CloseClientConnections()
	p.server.Close()
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	call := CallOf(r)
	p.mu.Lock()
	faults, onCall := p.faults, p.onCall
	p.counts.Calls++
	p.mu.Unlock()
	if onCall != nil {
		onCall(call)
	}
	var fault *Fault
	if faults != nil {
		fault = faults(call)
	}
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if call.Writes() {
			p.mu.Lock()
			p.counts.Writes[call.String()]++
			p.mu.Unlock()
		}
		if call.Verb == "watch" {
			ctx, cancel := context.WithCancel(r.Context())
			defer p.watching(cancel)()
			r = r.WithContext(ctx)
		}
		p.upstream.ServeHTTP(w, r)
	})
	if fault == nil {
		next(w, r)
		return
	}
	if fault.Name != "" {
		p.mu.Lock()
		p.counts.Faults[fault.Name]++
		p.mu.Unlock()
	}
	fault.wrap(next).ServeHTTP(w, r)
}

// watching registers an open watch until ended is called.
func (p *Proxy) watching(cancel context.CancelFunc) (ended func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watches[&cancel] = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.watches, &cancel)
		cancel()
	}
}
