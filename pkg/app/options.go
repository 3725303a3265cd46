// Package app wires the controller's program: it turns flags into configuration, and creates
// clients, leader election, the controller and the servers from it. No other package does.
package app

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/pkg/adminserver/profiles"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/flagenv"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/version"
)

// envPrefix is the prefix of the flags' environment variables: --page-image is
// MAINTENANCE_PAGE_IMAGE.
const envPrefix = "MAINTENANCE_"

// options are the controller's flags.
type options struct {
	cluster                  clusterOptions
	namespace                string
	watchNamespaces, classes []string
	targets, solvers         []string
	keys                     annotations.Keys
	namespacePages           bool
	watchLeases              bool

	page pageOptions

	auto    bool
	autoFor time.Duration

	settleClasses                                         string
	lead, settle, grace, readyTimeout, debounce, discover time.Duration

	installationID     string
	adoptInstallations []string

	leaderElect                                   bool
	leaseName                                     string
	leaseDuration, leaseRenewDeadline, leaseRetry time.Duration

	qps     float32
	burst   int
	workers int

	api                 apiOptions
	checkers            checkerOptions
	listen, debugListen string
	logFormat, logLevel string
	version             bool
}

// pageOptions are the flags for page sets.
type pageOptions struct {
	image, pullPolicy                     string
	pullSecrets                           []string
	replicas                              int
	labels, annotations, nodeSelector     map[string]string
	tolerations, resources, priorityClass string
	affinity, spread                      string
	podSecurity, security                 string
	drain                                 time.Duration
	serviceType                           string
	serviceAnnotations                    map[string]string
	serviceClasses, networkPolicy         string
	maxDoors, maxSetsWithDoors            int
	cookieLifetime                        time.Duration
}

func (o *options) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("maintenance-controller", pflag.ContinueOnError)
	f.SortFlags = false
	o.cluster.flags(f)
	f.StringVar(&o.namespace, "namespace", "maintenance-system", "the controller's own namespace, which holds its Lease and the pages for all namespaces")
	f.StringSliceVar(&o.watchNamespaces, "watch-namespaces", nil, "namespaces to serve, comma-separated; empty = all. If set, Roles in these namespaces are enough")
	f.StringSliceVar(&o.targets, "targets", []string{"Ingress", "IngressRoute", "HTTPRoute", "GRPCRoute"}, "kinds that can be put in maintenance, comma-separated: "+strings.Join(kindNames(), ", ")+". If a kind's CRD is not installed, the controller waits for it. Service needs more rights: deploy/manifests/service-targets.yaml")
	f.StringSliceVar(&o.classes, "ingress-class", nil, "ingress classes to serve, comma-separated; empty = all. If set, an Ingress of another class or of none is left alone, an IngressRoute only if it names another class, and a route of the Gateway API only if all its Gateways have other classes")
	f.StringSliceVar(&o.solvers, "acme-solver-services", nil, "Services of ACME clients other than cert-manager, comma-separated, such as my-solver, or solver-* for a prefix: paths under /.well-known/acme-challenge that lead to them are not swapped, or certificates would expire")
	keyFlags(f, &o.keys)
	f.BoolVar(&o.namespacePages, "namespace-pages", true, "use pages in a target's own namespace, and prefer them to those in the controller's")
	f.BoolVar(&o.watchLeases, "watch-leases", true, "watch the Leases that annotation maintenance/lease names, by label, in the namespaces of those targets. If false, the controller needs no rights to Leases other than its own, and a target that names a Lease is not put in maintenance")
	o.page.flags(f)
	f.DurationVar(&o.lead, "page-lead-time", time.Second, "how long a page must have had endpoints before visitors are sent to it. Ingress controllers watch endpoints and Ingresses separately: one that learns of the endpoints after the switch, and later than this allows, answers 404 until then")
	f.DurationVar(&o.settle, "settle-time", 3*time.Second, "time from a swap until the state is active. Must exceed the time ingress controllers take to follow: Traefik batches changes for 2s by default (providersThrottleDuration)")
	f.StringVar(&o.settleClasses, "settle-time-classes", "", `settle times that replace --settle-time for some ingress classes, as JSON or YAML: {"alb": "3m"}. For a target with several classes, the longest counts`)
	f.DurationVar(&o.grace, "page-set-grace-period", 2*time.Minute, "how long a page set stays after its last user has left, for ingress controllers that lag behind")
	f.DurationVar(&o.readyTimeout, "page-ready-timeout", 0, "swap even to a page that has not become ready within this time; visitors then get the ingress controller's own error. 0 = never: they get the app until the page is ready")
	f.DurationVar(&o.debounce, "page-debounce", time.Second, "how long to collect changes of pages before targets in maintenance follow them")
	f.BoolVar(&o.auto, "auto", true, "allow maintenance that starts and ends automatically (annotation maintenance/auto), and maintenance that ends only when the app is ready (maintenance/restore-when). Nothing is watched for this until a target asks for it")
	f.DurationVar(&o.autoFor, "auto-for", time.Second, "how long all backends of a target must have had no ready endpoint before maintenance/auto starts maintenance. Terminating Pods keep serving during that time. 0 = at once")
	f.DurationVar(&o.discover, "discovery-interval", 10*time.Second, "how often to check whether a kind's CRD exists, at least 1s")
	f.BoolVar(&o.leaderElect, "leader-elect", true, "work only while holding the Lease, so that one of several replicas works")
	f.StringVar(&o.leaseName, "lease-name", "maintenance-controller", "name of the Lease, in the controller's namespace")
	installationFlags(f, &o.installationID, &o.adoptInstallations)
	f.DurationVar(&o.leaseDuration, "lease-duration", 15*time.Second, "how long other replicas wait for a leader that does not renew its Lease")
	f.DurationVar(&o.leaseRenewDeadline, "lease-renew-deadline", 10*time.Second, "how long the leader tries to renew its Lease before it gives up; less than --lease-duration")
	f.DurationVar(&o.leaseRetry, "lease-retry-period", 2*time.Second, "how often to renew the Lease, or to try to acquire it")
	f.Float32Var(&o.qps, "kube-api-qps", 500, "maximum requests per second to the API server; negative = no limit (the API server's own still applies)")
	f.IntVar(&o.burst, "kube-api-burst", 1000, "maximum requests in a burst")
	f.IntVar(&o.workers, "workers", 16, "how many targets, and how many page sets, to reconcile at once, 1 to 1000")
	f.StringVar(&o.listen, "listen", ":8081", "address for /healthz, /readyz and /metrics; empty = none")
	o.checkers.flags(f)
	o.api.flags(f)
	f.StringVar(&o.debugListen, "debug-listen", "", "loopback address for /debug/pprof/, such as 127.0.0.1:6060; kubectl port-forward reaches it. Empty = none")
	f.StringVar(&o.logFormat, "log-format", "json", "json or console")
	f.StringVar(&o.logLevel, "log-level", "info", "debug (every reconcile), info (transitions), warn or error")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	return f
}

// installationFlags identify the installation, for the controller and for restore.
func installationFlags(f *pflag.FlagSet, id *string, adopted *[]string) {
	f.StringVar(id, "installation-id", "", "id that tells this installation from others in the cluster. Everything it creates and every target it has in maintenance carries the id; what carries another id is left alone. Empty = namespace and name of the Lease")
	f.StringSliceVar(adopted, "adopt-installation", nil, "ids of installations that no longer exist, comma-separated: this one takes over what they left, for example after a release was renamed")
}

// newInstallation returns the installation of the flags. Without an id it is that of the Lease.
func newInstallation(id string, adopted []string, namespace, lease string) installation.Installation {
	return installation.Installation{ID: cmp.Or(id, namespace+"/"+lease), Adopted: unique(adopted)}
}

// checkInstallation returns an error for each invalid id.
func checkInstallation(i installation.Installation) error {
	var errs []error
	if err := installation.Check(i.ID); err != nil {
		errs = append(errs, fmt.Errorf("--installation-id: %w", err))
	}
	for _, id := range i.Adopted {
		if err := installation.Check(id); err != nil {
			errs = append(errs, fmt.Errorf("--adopt-installation: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (o *options) installation() installation.Installation {
	return newInstallation(o.installationID, o.adoptInstallations, o.namespace, o.leaseName)
}

func keyFlags(f *pflag.FlagSet, keys *annotations.Keys) {
	f.StringVar(&keys.Enabled, "enabled-key", annotations.DefaultEnabled, "annotation that switches maintenance on")
	f.StringVar(&keys.EnabledValue, "enabled-value", annotations.DefaultEnabledValue, "value of that annotation that means on")
	f.StringVar(&keys.CustomPage, "custom-page-key", annotations.DefaultCustomPage, "annotation that names a page")
}

func (p *pageOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&p.image, "page-image", "maintenance-controller:"+version.Version, "image of the page Pods: the controller's own image")
	f.StringVar(&p.pullPolicy, "page-image-pull-policy", string(corev1.PullIfNotPresent), "when to pull it: Always, IfNotPresent or Never")
	f.StringSliceVar(&p.pullSecrets, "page-image-pull-secrets", nil, "Secrets to pull it with, in the target's namespace, comma-separated")
	f.IntVar(&p.replicas, "page-replicas", 2, "Pods of a page set, 1 to 10, spread over nodes; with 2 or more, a PodDisruptionBudget keeps one during a drain")
	f.StringToStringVar(&p.labels, "page-labels", nil, "labels of the page Pods, key=value,…")
	f.StringToStringVar(&p.annotations, "page-annotations", nil, "annotations of the page Pods, key=value,…")
	f.StringToStringVar(&p.nodeSelector, "page-node-selector", nil, "node selector of the page Pods, key=value,…")
	f.StringVar(&p.tolerations, "page-tolerations", "", "tolerations of the page Pods, as a JSON or YAML list")
	f.StringVar(&p.affinity, "page-affinity", "", "affinity of the page Pods, as JSON or YAML; all of them have the label app.kubernetes.io/name=maintenance-page")
	f.StringVar(&p.spread, "page-topology-spread", "", "topology spread constraints of the page Pods, as a JSON or YAML list; one without a labelSelector applies to the Pods of the same page set. Empty = spread over nodes where possible, [] = not at all")
	f.StringVar(&p.podSecurity, "page-pod-security-context", "", "securityContext of the page Pods, as JSON or YAML; fields that it does not set stay as Pod Security Standard restricted requires")
	f.StringVar(&p.security, "page-security-context", "", "securityContext of their container, as JSON or YAML; the same applies")
	f.StringVar(&p.resources, "page-resources", `{"requests":{"cpu":"10m","memory":"24Mi"},"limits":{"memory":"96Mi"}}`, "resources of a page Pod, as JSON or YAML. On nodes without spare capacity, more cpu means faster answers")
	f.StringVar(&p.priorityClass, "page-priority-class", "", "PriorityClass of the page Pods; empty = none")
	f.DurationVar(&p.drain, "page-drain", 10*time.Second, "how long a page Pod that is stopped keeps answering, at most 10m. Must exceed the time ingress controllers take to follow endpoints (Traefik: 2s by default), or visitors get 502 and 504 when a Pod moves")
	f.StringVar(&p.serviceType, "page-service-type", string(corev1.ServiceTypeClusterIP), "type of the page sets' Services: ClusterIP, NodePort (which an ALB in instance mode needs) or LoadBalancer")
	f.StringToStringVar(&p.serviceAnnotations, "page-service-annotations", nil, "annotations of the page sets' Services, key=value,…")
	f.StringVar(&p.serviceClasses, "page-service-classes", "", `what to add to the page sets' Services for targets of an ingress class, as JSON or YAML: {"alb": {"type": "NodePort", "annotations": {"key": "value"}}}. A page set used by several classes gets all of it`)
	f.IntVar(&p.maxDoors, "bypass-max-apps", 20, "how many apps people can be let through to by one page set, 1 to 99. A target with more is not put in maintenance: a page without the requested bypass would lock people out")
	f.IntVar(&p.maxSetsWithDoors, "bypass-max-page-sets", 10, "how many page sets of a namespace can let people through, at least 1. A target that needs another one is not put in maintenance. Each Pod of such a page set may use 256 MiB")
	f.DurationVar(&p.cookieLifetime, "bypass-cookie-lifetime", 12*time.Hour, "how long opening a link with a token lets a person through, 1m to 8760h; after that they must open it again")
	f.StringVar(&p.networkPolicy, "page-network-policy", string(pageset.PolicyAuto), "NetworkPolicy that lets visitors reach the page Pods: auto (if the namespace has another one, which may deny the rest), always or never")
}

// parse reads the flags from args, and the others from environment variables. It writes the
// help to out if args ask for it.
func parse(args []string, env func(string) (string, bool), out io.Writer) (*options, error) {
	o := &options{}
	f := o.flags()
	err := flagenv.Parse(f, args, env, func(flag string) string { return flagenv.Variable(envPrefix, flag) })
	if errors.Is(err, pflag.ErrHelp) {
		usage(f, out)
	}
	switch {
	case o.version:
		return o, nil
	case err != nil:
		return nil, err
	}
	for _, list := range []*[]string{&o.watchNamespaces, &o.classes, &o.page.pullSecrets} {
		*list = unique(*list)
	}
	return o, o.validate()
}

func usage(f *pflag.FlagSet, out io.Writer) {
	fmt.Fprintf(out, `Shows a maintenance page in place of any app whose Ingress, Traefik IngressRoute, Gateway API route or Service is annotated:

  kubectl annotate ingress my-app maintenance/enabled=true

Every flag can also be set by an environment variable: --page-image is %sPAGE_IMAGE. A flag wins.

  maintenance-controller restore …       ends maintenance without the controller, see restore --help
  maintenance-controller check-pages …   shows what the controller would do with pages, see check-pages --help

Usage: maintenance-controller [flags]

%s`, envPrefix, f.FlagUsagesWrapped(120))
}

// validate returns an error that names all invalid flags, and not just the first.
func (o *options) validate() error {
	var errs []error
	bad := func(flag, format string, args ...any) {
		errs = append(errs, fmt.Errorf("--%s: %s", flag, fmt.Sprintf(format, args...)))
	}
	errs = append(errs, checkNamespaces("namespace", []string{o.namespace}), checkNamespaces("watch-namespaces", o.watchNamespaces), checkInstallation(o.installation()))
	for flag, key := range map[string]string{"enabled-key": o.keys.Enabled, "custom-page-key": o.keys.CustomPage} {
		if problems := validation.IsQualifiedName(strings.ToLower(key)); len(problems) > 0 {
			bad(flag, "%q is not an annotation key: %s", key, problems[0])
		}
	}
	if o.keys.Enabled == o.keys.CustomPage {
		bad("custom-page-key", "%q is also the --enabled-key: choose another key", o.keys.CustomPage)
	}
	if annotations.Reserved(o.keys.Enabled) || annotations.Reserved(o.keys.CustomPage) {
		bad("enabled-key", "%s, %s: the controller writes one of these itself, choose another key", o.keys.Enabled, o.keys.CustomPage)
	}
	if v := strings.TrimSpace(o.keys.EnabledValue); v == "" || v == "false" {
		bad("enabled-value", "%q means off", o.keys.EnabledValue)
	}
	if _, err := kinds(o.targets); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, o.api.validate(o.watchNamespaces))
	for _, name := range o.solvers {
		if problems := validation.IsDNS1035Label(strings.TrimSuffix(name, "*") + strings.Repeat("x", strings.Count(name, "*"))); len(problems) > 0 {
			bad("acme-solver-services", "%q is neither the name of a Service nor the beginning of one followed by *", name)
		}
	}
	for flag, d := range map[string]time.Duration{"page-lead-time": o.lead, "settle-time": o.settle, "page-set-grace-period": o.grace, "page-ready-timeout": o.readyTimeout, "page-debounce": o.debounce, "auto-for": o.autoFor} {
		if d < 0 {
			bad(flag, "%s is below 0", d)
		}
	}
	if _, err := o.settings(); err != nil {
		errs = append(errs, err)
	}
	if o.debugListen != "" && !profiles.Loopback(o.debugListen) {
		bad("debug-listen", "%q is not a loopback address with a port: profiles show memory, and only those who may enter the Pod may read them", o.debugListen)
	}
	if o.discover < time.Second {
		bad("discovery-interval", "%s is below 1s", o.discover)
	}
	if o.leaderElect && (o.leaseRetry <= 0 || o.leaseRetry*6/5 >= o.leaseRenewDeadline || o.leaseRenewDeadline >= o.leaseDuration) {
		bad("lease-renew-deadline", "--lease-retry-period × 1.2 < --lease-renew-deadline < --lease-duration must hold, but these are %s, %s and %s", o.leaseRetry, o.leaseRenewDeadline, o.leaseDuration)
	}
	if o.workers < 1 || o.workers > 1000 {
		bad("workers", "%d is not 1 to 1000", o.workers)
	}
	if o.qps == 0 || o.burst < 1 {
		bad("kube-api-qps", "%v with --kube-api-burst %d would let no request through", o.qps, o.burst)
	}
	return errors.Join(append(errs, o.page.validate())...)
}

// settings are the times for pkg/plan.
func (o *options) settings() (plan.Settings, error) {
	s := plan.Settings{Lead: o.lead, Settle: o.settle, ReadyTimeout: o.readyTimeout}
	var texts map[string]metav1.Duration
	err := decode("settle-time-classes", o.settleClasses, &texts)
	for class, settle := range texts {
		if s.SettleByClass == nil {
			s.SettleByClass = map[string]time.Duration{}
		}
		s.SettleByClass[class] = settle.Duration
		if class == "" || settle.Duration < 0 {
			err = errors.Join(err, fmt.Errorf("--settle-time-classes: %q: %s: give a class and a time of 0 or more", class, settle.Duration))
		}
	}
	return s, err
}

// unique removes duplicates from a flag's list. Two watches of one namespace would show each
// Pod twice, and the controller would delete one.
func unique(list []string) []string {
	var once []string
	for _, s := range list {
		if !slices.Contains(once, s) {
			once = append(once, s)
		}
	}
	return once
}

// checkNamespaces returns an error for each invalid namespace of a flag.
func checkNamespaces(flag string, names []string) error {
	var errs []error
	for _, name := range names {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			errs = append(errs, fmt.Errorf("--%s: %q is not a namespace: %s", flag, name, problems[0]))
		}
	}
	return errors.Join(errs...)
}

// kinds returns the kinds in --targets without duplicates. Case does not matter.
func kinds(names []string, solvers ...string) ([]target.Kind, error) {
	if len(names) == 0 {
		return nil, errors.New("--targets: name at least one kind")
	}
	var found []target.Kind
	for _, name := range names {
		k, ok := target.KindByName(name, solvers...)
		if !ok {
			return nil, fmt.Errorf("--targets: %q is not one of %s", name, strings.Join(kindNames(), ", "))
		}
		if !slices.ContainsFunc(found, func(f target.Kind) bool { return f.Name == k.Name }) {
			found = append(found, k)
		}
	}
	return found, nil
}

func kindNames() []string {
	var names []string
	for _, k := range target.Kinds() {
		names = append(names, k.Name)
	}
	return names
}

// decode reads JSON or YAML strictly into an API type.
func decode(flag, text string, into any) error {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	if err := yaml.UnmarshalStrict([]byte(text), into); err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	return nil
}
