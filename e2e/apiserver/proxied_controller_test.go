package apiserver

import (
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"maintenance-controller.io/e2e/controllerproc"
	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/e2e/idle"
)

// proxiedController is the real program with a proxy between it and the API server.
type proxiedController struct {
	*testEnv
	proxy    *faultproxy.Proxy
	requests *idle.Counter
	log      *testLog
	build    controllerproc.Build
	flags    []string
	halfway  bool // for tests that act in the middle of a wait

	mu      sync.Mutex
	current *controllerproc.Process
}

// newProxied starts a proxy without faults. restart starts the program, with flags for this
// namespace only and short waits.
func (env *testEnv) newProxied() *proxiedController {
	env.Helper()
	return env.newProxiedAs(env.config, clientcmdapi.AuthInfo{})
}

// newProxiedAs does the same with the credentials of the proxy, or with those of the program.
func (env *testEnv) newProxiedAs(upstream *rest.Config, user clientcmdapi.AuthInfo) *proxiedController {
	env.Helper()
	proxy, err := faultproxy.Start(upstream, nil)
	require.NoError(env, err)
	requests := idle.NewCounter()
	proxy.OnCall(requests.Count)
	kubeconfig := filepath.Join(env.TempDir(), "kubeconfig")
	require.NoError(env, proxy.WriteKubeconfig(kubeconfig, user))
	p := &proxiedController{testEnv: env, proxy: proxy, requests: requests, log: &testLog{t: env.T}, flags: []string{
		"--kubeconfig=" + kubeconfig, installationFlag, "--namespace=" + env.controllerNamespace, "--watch-namespaces=" + env.namespace, "--targets=Ingress,IngressRoute,HTTPRoute,GRPCRoute,Service",
		"--leader-elect=false", "--listen=", "--page-image=" + servingImage,
		"--page-lead-time=20ms", "--settle-time=100ms", "--page-set-grace-period=300ms", "--page-debounce=20ms", "--discovery-interval=1s",
	}}
	env.Cleanup(p.finish)
	return p
}

// finish removes all faults and stops the program once it is idle, or at once if the test
// has failed.
func (p *proxiedController) finish() {
	stop := func() {
		p.kill()
		p.proxy.Close()
	}
	current := p.process()
	if current == nil {
		stop()
		return
	}
	select {
	case <-current.Done():
		stop()
	default:
		p.proxy.SetFaults(nil)
		p.testEnv.stopWhenIdle(p.requests, p.log, stop)
	}
}

// restart stops the program, if it runs, and starts it with additional flags. Later
// restarts have these flags as well.
func (p *proxiedController) restart(more ...string) {
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

// supervise restarts the program whenever it ends, as the kubelet does, until the test
// ends. The returned function tells how often it was restarted.
func (p *proxiedController) supervise() (restarts func() int64) {
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
			case <-p.process().Done():
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

// kill ends the program with SIGKILL, if it runs.
func (p *proxiedController) kill() {
	if current := p.process(); current != nil {
		current.Kill()
	}
}

func (p *proxiedController) process() *controllerproc.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}
