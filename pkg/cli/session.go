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

// session is one run of the program: what was asked for, and the clients.
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
	s.flags.CacheDir = nil // what little is discovered is not worth keeping
	s.flags.WrapConfigFn = func(c *rest.Config) *rest.Config {
		c.Wrap(s.clock.listen)
		c.UserAgent = "kubectl-maintenance/" + version.Version
		c.WarningHandler = rest.NoWarnings{}
		c.QPS, c.Burst = 50, 100
		return c
	}
	return s
}

// commonFlags are the cluster's flags that each help names; kubectl's others work as well.
var commonFlags = []string{"kubeconfig", "context", "namespace"}

func (s *session) globalFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.SortFlags = false
	s.flags.AddFlags(f)
	f.VisitAll(func(flag *pflag.Flag) { flag.Hidden = !slices.Contains(commonFlags, flag.Name) })
	f.StringVar(&s.keys.Enabled, "enabled-key", annotations.DefaultEnabled, "annotation that switches maintenance on, if the controller's is another one; or set "+flagenv.Variable(envPrefix, "enabled-key"))
	f.StringVar(&s.keys.EnabledValue, "enabled-value", annotations.DefaultEnabledValue, "its value that means on; or set "+flagenv.Variable(envPrefix, "enabled-value"))
	f.StringVar(&s.keys.CustomPage, "custom-page-key", annotations.DefaultCustomPage, "annotation that names a page; or set "+flagenv.Variable(envPrefix, "custom-page-key"))
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return s.readEnvironment(c.Flags()) }
	_ = root.RegisterFlagCompletionFunc("namespace", s.completeNamespaces) // the flag is there
}

// readEnvironment sets the keys from the environment, where no flag does.
func (s *session) readEnvironment(f *pflag.FlagSet) error {
	for _, name := range []string{"enabled-key", "enabled-value", "custom-page-key"} {
		variable := flagenv.Variable(envPrefix, name)
		if value, ok := s.Env(variable); ok && value != "" && !f.Changed(name) {
			if err := f.Set(name, value); err != nil {
				return usagef("environment variable %s is %q: %w", variable, value, err)
			}
		}
	}
	return nil
}

// connect makes the clients; it asks the API server nothing yet.
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

// serverClock is the API server's, as its answers have it: the clock of the machine that
// this runs on may be wrong, and only counts what has passed since.
type serverClock struct {
	now  func() time.Time
	mu   sync.Mutex
	date time.Time // of the last answer
	at   time.Time // when that came, by this machine's clock
}

// listen reads the Date of each answer.
func (c *serverClock) listen(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err == nil {
			c.hear(answer.Header.Get("Date"))
		}
		return answer, err
	})
}

func (c *serverClock) hear(text string) {
	date, err := http.ParseTime(text)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.date, c.at = date, c.now()
}

// Now is the API server's time, to a second. It is false before any answer has told.
func (c *serverClock) Now() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.date.IsZero() {
		return time.Time{}, false
	}
	return c.date.Add(passed(c.at, c.now())).UTC(), true
}

// Reckon is Now, or this machine's clock where no answer has told.
func (c *serverClock) Reckon() time.Time {
	if now, ok := c.Now(); ok {
		return now
	}
	return c.now().UTC()
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// explain says an error, and what to do about it where that is known.
func explain(err error) string {
	text := err.Error()
	var status *apierrors.StatusError
	switch {
	case errors.As(err, &status) && apierrors.IsForbidden(err):
		text += "\nThe role 'edit' of the namespace is enough to start and end maintenance, 'view' to look at it. For kinds that come with a CRD somebody has to add rules: get, list, watch and patch."
	case apierrors.IsUnauthorized(err):
		text += "\nThe API server does not know you: look at your kubeconfig with 'kubectl config view --minify'."
	case errors.Is(err, context.DeadlineExceeded), strings.Contains(text, "connection refused"), strings.Contains(text, "no such host"):
		text += "\nIs this the cluster that you mean? See 'kubectl config current-context'; another one is --context."
	}
	return text
}
