package apiserver

import (
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/e2e/program"
	"maintenance-controller.io/e2e/quiet"
)

// proxied is the real program at work in a world, with a proxy between it and the
// API server.
type proxied struct {
	*world
	proxy   *faultproxy.Proxy
	calls   *quiet.Counter
	log     *testLog
	build   program.Build
	flags   []string
	halfway bool // for tests that do something in the middle of a wait

	mu      sync.Mutex
	current *program.Program
}

// proxied starts a proxy that lets all be well. The program, with flags for this
// world alone and short waits, starts with restart.
func (w *world) proxied() *proxied {
	w.Helper()
	return w.proxiedAs(w.config, clientcmdapi.AuthInfo{})
}

// proxiedAs does so with credentials that the proxy has, or that the program brings.
func (w *world) proxiedAs(upstream *rest.Config, user clientcmdapi.AuthInfo) *proxied {
	w.Helper()
	proxy, err := faultproxy.Start(upstream, nil)
	require.NoError(w, err)
	requests := quiet.NewCounter()
	proxy.Tell(requests.Count)
	kubeconfig := filepath.Join(w.TempDir(), "kubeconfig")
	require.NoError(w, proxy.WriteKubeconfig(kubeconfig, user))
	p := &proxied{world: w, proxy: proxy, calls: requests, log: &testLog{t: w.T}, flags: []string{
		"--kubeconfig=" + kubeconfig, theInstallation, "--namespace=" + w.own, "--watch-namespaces=" + w.namespace, "--targets=Ingress,IngressRoute,HTTPRoute,GRPCRoute,Service",
		"--leader-elect=false", "--listen=", "--page-image=" + imageServes,
		"--page-lead-time=20ms", "--settle-time=100ms", "--page-set-grace-period=300ms", "--page-debounce=20ms", "--discovery-interval=1s",
	}}
	w.Cleanup(p.leave)
	return p
}

// leave leaves the program alone if it runs and its test has ended well. All is well
// with the API server from then on.
func (p *proxied) leave() {
	stop := func() {
		p.kill()
		p.proxy.Close()
	}
	current := p.program()
	if current == nil {
		stop()
		return
	}
	select {
	case <-current.Done():
		stop()
	default:
		p.proxy.Judge(nil)
		p.world.leave(p.calls, p.log, stop)
	}
}

// restart runs the program, with more flags from here on, once the one that ran
// has ended in order or was killed.
func (p *proxied) restart(more ...string) {
	p.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil {
		p.current.Stop()
	}
	p.flags = append(p.flags, more...)
	var err error
	p.current, err = p.build.Start(p.log, p.flags...)
	require.NoError(p, err)
}

// supervise keeps the program running as the kubelet does, until the test ends. The
// returned function tells how often it has been started again.
func (p *proxied) supervise() (restarts func() int64) {
	p.Helper()
	var n atomic.Int64
	p.restart()
	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-p.program().Done():
			}
			select {
			case <-ended:
				return
			default:
				n.Add(1)
				p.restart()
			}
		}
	})
	p.Cleanup(func() {
		close(ended)
		wg.Wait()
	})
	return n.Load
}

// kill ends the program by SIGKILL, if it runs.
func (p *proxied) kill() {
	if current := p.program(); current != nil {
		current.Kill()
	}
}

func (p *proxied) program() *program.Program {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}
