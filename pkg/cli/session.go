package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/flagenv"
	"maintenance-controller.io/pkg/version"
)

// session is one run of the program: its flags and its clients.
type session struct {
	Process
	flags *genericclioptions.ConfigFlags
	keys  annotations.Keys
	clock serverClock

	namespace string // of the flags, else of the kubeconfig's context
	dynamic   dynamic.Interface
	metadata  metadata.Interface
	leases    coordinationv1.LeasesGetter
	core      corev1.CoreV1Interface
	discovery discovery.ServerResourcesInterface
}

func newSession(p Process) *session {
	s := &session{Process: p, flags: genericclioptions.NewConfigFlags(true), clock: serverClock{now: p.Now}}
	s.flags.CacheDir = nil // there is too little discovery for a cache
	s.flags.WrapConfigFn = func(c *rest.Config) *rest.Config {
		c.Wrap(s.clock.wrap)
		c.UserAgent = "kubectl-maintenance/" + version.Version
		c.WarningHandler = rest.NoWarnings{}
		c.QPS, c.Burst = 50, 100
		return c
	}
	return s
}

// commonFlags are kubectl's flags that each help shows. The others work too.
var commonFlags = []string{"kubeconfig", "context", "namespace"}

func (s *session) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.SortFlags = false
	s.flags.AddFlags(f)
	f.VisitAll(func(flag *pflag.Flag) { flag.Hidden = !slices.Contains(commonFlags, flag.Name) })
	f.StringVar(&s.keys.Enabled, "enabled-key", annotations.DefaultEnabled, "annotation that switches maintenance on, the same as the controller's; also set by "+flagenv.Variable(envPrefix, "enabled-key"))
	f.StringVar(&s.keys.EnabledValue, "enabled-value", annotations.DefaultEnabledValue, "value of that annotation that means on; also set by "+flagenv.Variable(envPrefix, "enabled-value"))
	f.StringVar(&s.keys.CustomPage, "custom-page-key", annotations.DefaultCustomPage, "annotation that names a page; also set by "+flagenv.Variable(envPrefix, "custom-page-key"))
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return s.readEnvironment(c.Flags()) }
	_ = root.RegisterFlagCompletionFunc("namespace", s.completeNamespaces) // the flag is there
}

// readEnvironment sets the keys from the environment if no flag does. An empty variable counts as
// absent, since no key is empty.
func (s *session) readEnvironment(f *pflag.FlagSet) error {
	env := func(name string) (string, bool) {
		value, ok := s.Env(name)
		return value, ok && value != ""
	}
	err := flagenv.FromEnvironment(f, env, func(flag string) string {
		if !slices.Contains([]string{"enabled-key", "enabled-value", "custom-page-key"}, flag) {
			return ""
		}
		return flagenv.Variable(envPrefix, flag)
	})
	if err != nil {
		return usagef("%w", err)
	}
	return nil
}

// connect creates the clients. It does not send requests yet.
func (s *session) connect() error {
	config, err := s.flags.ToRESTConfig()
	if err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	if s.namespace, _, err = s.flags.ToRawKubeConfigLoader().Namespace(); err != nil {
		return fmt.Errorf("read the kubeconfig: %w", err)
	}
	if s.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	if s.metadata, err = metadata.NewForConfig(config); err != nil {
		return err
	}
	if s.leases, err = coordinationv1.NewForConfig(config); err != nil {
		return err
	}
	if s.core, err = corev1.NewForConfig(config); err != nil {
		return err
	}
	s.discovery, err = discovery.NewDiscoveryClientForConfig(config)
	return err
}

// serverClock is the API server's clock, by the Date of its responses. This machine's clock
// may be wrong, and only measures the time since the last response.
type serverClock struct {
	now  func() time.Time
	mu   sync.Mutex
	date time.Time // of the last response
	at   time.Time // when that arrived, by this machine's clock
}

// wrap reads the Date of each response.
func (c *serverClock) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err == nil {
			c.set(response.Header.Get("Date"))
		}
		return response, err
	})
}

// set takes the time from a Date header. An invalid one changes nothing.
func (c *serverClock) set(text string) {
	date, err := http.ParseTime(text)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.date, c.at = date, c.now()
}

// Now is the API server's time, with a precision of a second. It returns false before the
// first response with a Date.
func (c *serverClock) Now() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.date.IsZero() {
		return time.Time{}, false
	}
	return c.date.Add(elapsed(c.at, c.now())).UTC(), true
}

// Estimate is Now, or this machine's time before the first response with a Date.
func (c *serverClock) Estimate() time.Time {
	if now, ok := c.Now(); ok {
		return now
	}
	return c.now().UTC()
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// explain is the text of an error, with advice if there is any.
func explain(err error) string {
	text := err.Error()
	var status *apierrors.StatusError
	switch {
	case errors.As(err, &status) && apierrors.IsForbidden(err):
		text += "\nThe role 'edit' in the namespace is enough to start and end maintenance, 'view' to show it. Kinds that come with a CRD need additional rules: get, list, watch and patch."
	case apierrors.IsUnauthorized(err):
		text += "\nThe API server does not accept your credentials: check your kubeconfig with 'kubectl config view --minify'."
	case errors.Is(err, context.DeadlineExceeded), strings.Contains(text, "connection refused"), strings.Contains(text, "no such host"):
		text += "\nIs this the right cluster? Check 'kubectl config current-context', or choose another one with --context."
	}
	return text
}
