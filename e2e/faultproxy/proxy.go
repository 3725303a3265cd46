// Package faultproxy stands between clients and a real API server, and lets their
// calls go wrong in the ways in which they do in the field.
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

// Judge says what goes wrong with a call; nil if nothing does. It is asked once
// for each call, by many at a time.
type Judge func(Call) *Fault

// Proxy is an HTTPS server in front of an API server.
type Proxy struct {
	server *httptest.Server
	way    http.Handler // to the API server

	mu      sync.Mutex
	judge   Judge
	heard   func(Call)
	counts  Counts
	watches map[*context.CancelFunc]bool // that are open
}

// Counts are what has come through a proxy since it was started.
type Counts struct {
	Calls  int
	Faults map[string]int // by the fault's name
	Writes map[string]int // that were not refused on the way, by Call.String
	// Answers are those of the API server, by HTTP status, whether the client got them or not.
	Answers map[int]int
}

// Injected is how many calls a fault was put into.
func (c Counts) Injected() (n int) {
	for _, times := range c.Faults {
		n += times
	}
	return n
}

// Start listens on a port of the loopback. What comes through is sent to the API
// server with the credentials of upstream, or with the client's own if it has none.
func Start(upstream *rest.Config, judge Judge) (*Proxy, error) {
	at, err := url.Parse(upstream.Host)
	if err != nil {
		return nil, fmt.Errorf("address of the API server: %w", err)
	}
	transport, err := rest.TransportFor(upstream)
	if err != nil {
		return nil, fmt.Errorf("way to the API server: %w", err)
	}
	p := &Proxy{judge: judge, watches: map[*context.CancelFunc]bool{}, counts: Counts{Faults: map[string]int{}, Writes: map[string]int{}, Answers: map[int]int{}}}
	p.way = &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(at) },
		Transport: transport,
		ModifyResponse: func(r *http.Response) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.counts.Answers[r.StatusCode]++
			return nil
		},
		FlushInterval: -1, // each event of a watch when it comes
		ErrorLog:      log.New(silence{}, "", 0),
		// An API server that is away looks to the client as it would without a proxy.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	p.server.EnableHTTP2 = true
	p.server.Config.ErrorLog = log.New(silence{}, "", 0) // of clients that were killed
	p.server.StartTLS()
	return p, nil
}

// silence drops what the servers log: faults are what this package is for.
type silence struct{}

func (silence) Write(b []byte) (int, error) { return len(b), nil }

// Judge replaces the judge for all calls that come from now on.
func (p *Proxy) Judge(judge Judge) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.judge = judge
}

// Tell has each call told that comes from now on, whatever becomes of it.
func (p *Proxy) Tell(heard func(Call)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = heard
}

// Counts gives a copy of the counts.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts
	c.Faults, c.Writes, c.Answers = maps.Clone(c.Faults), maps.Clone(c.Writes), maps.Clone(c.Answers)
	return c
}

// WriteKubeconfig writes a kubeconfig that leads to the proxy, with these
// credentials.
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

// EndWatches breaks all watches off that are open, and tells how many.
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

// Watches tells how many are open.
func (p *Proxy) Watches() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.watches)
}

// Close ends all connections. Calls that a fault holds end with them.
func (p *Proxy) Close() {
	p.server.CloseClientConnections()
	p.server.Close()
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	call := CallOf(r)
	p.mu.Lock()
	judge, heard := p.judge, p.heard
	p.counts.Calls++
	p.mu.Unlock()
	if heard != nil {
		heard(call)
	}
	var fault *Fault
	if judge != nil {
		fault = judge(call)
	}
	way := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
		p.way.ServeHTTP(w, r)
	})
	if fault == nil {
		way(w, r)
		return
	}
	if fault.Name != "" {
		p.mu.Lock()
		p.counts.Faults[fault.Name]++
		p.mu.Unlock()
	}
	fault.over(way).ServeHTTP(w, r)
}

// watching remembers a watch until it has ended.
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
