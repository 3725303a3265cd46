// Package app wires the controller: flags to configuration, configuration to
// clients, leader election and servers. It is the only place that does.
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

// envPrefix begins the environment variable of each flag: --page-image is MAINTENANCE_PAGE_IMAGE.
const envPrefix = "MAINTENANCE_"

// options are the flags as given.
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

// pageOptions shape the page sets.
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
	f.StringVar(&o.namespace, "namespace", "maintenance-system", "the controller's own namespace: its Lease, and the pages for all namespaces, are here")
	f.StringSliceVar(&o.watchNamespaces, "watch-namespaces", nil, "namespaces that are served, comma-separated; all if empty. With it, Roles in these namespaces are enough")
	f.StringSliceVar(&o.targets, "targets", []string{"Ingress", "IngressRoute", "HTTPRoute", "GRPCRoute"}, "kinds that can be put in maintenance, comma-separated: "+strings.Join(kindNames(), ", ")+". Kinds of CRDs that are not there are waited for. Service needs more rights: deploy/manifests/service-targets.yaml")
	f.StringSliceVar(&o.classes, "ingress-class", nil, "ingress classes that are served, comma-separated; all if empty. An Ingress of another class, or of none, is then left alone; an IngressRoute only if it names another class, a route of the Gateway API only if all of its Gateways have another one")
	f.StringSliceVar(&o.solvers, "acme-solver-services", nil, "Services of ACME clients other than cert-manager, comma-separated, such as my-solver or solver-* for all that begin so: paths under /.well-known/acme-challenge that lead there stay, or certificates would expire")
	keyFlags(f, &o.keys)
	f.BoolVar(&o.namespacePages, "namespace-pages", true, "let pages in a target's own namespace count, before those in the controller's")
	f.BoolVar(&o.watchLeases, "watch-leases", true, "look at the Leases that annotation maintenance/lease names, in the namespaces of those targets, and by label. Without it nothing is watched and no rights to Leases are needed but to the controller's own, and a target that names any does not go into maintenance")
	o.page.flags(f)
	f.DurationVar(&o.lead, "page-lead-time", time.Second, "how long a page must have had endpoints before visitors are sent to it. Ingress controllers watch endpoints and Ingresses separately: one that hears of the endpoints later than of the switch, and later than this allows, answers 404 meanwhile")
	f.DurationVar(&o.settle, "settle-time", 3*time.Second, "from a swap until state is active. Longer than ingress controllers take to follow: Traefik gathers changes for 2s by default (providersThrottleDuration)")
	f.StringVar(&o.settleClasses, "settle-time-classes", "", `settle times of ingress classes in its place, JSON or YAML: {"alb": "3m"}. Of a target with several classes, the longest counts`)
	f.DurationVar(&o.grace, "page-set-grace-period", 2*time.Minute, "how long a page set stays after its last user has left, for ingress controllers that lag")
	f.DurationVar(&o.readyTimeout, "page-ready-timeout", 0, "swap to a page that has not come up in this time all the same; visitors then meet the ingress controller's own error. 0 = never: the app is served until the page can be")
	f.DurationVar(&o.debounce, "page-debounce", time.Second, "how long changes of pages are gathered before targets in maintenance follow")
	f.BoolVar(&o.auto, "auto", true, "let targets ask for maintenance that begins and ends by itself, and for one that ends only when the app is ready (annotations maintenance/auto, maintenance/restore-when). Nothing is watched for it before one does")
	f.DurationVar(&o.autoFor, "auto-for", time.Second, "how long none of a target's backends must have had a ready endpoint before maintenance/auto begins. Terminating Pods still serve meanwhile. 0 = at once")
	f.DurationVar(&o.discover, "discovery-interval", 10*time.Second, "how often it is looked whether a kind's CRD has come or gone")
	f.BoolVar(&o.leaderElect, "leader-elect", true, "work only while holding the Lease, so that of several replicas one works")
	f.StringVar(&o.leaseName, "lease-name", "maintenance-controller", "name of the Lease, in the controller's namespace")
	installationFlags(f, &o.installationID, &o.adoptInstallations)
	f.DurationVar(&o.leaseDuration, "lease-duration", 15*time.Second, "how long a leader that does not renew its Lease is waited for")
	f.DurationVar(&o.leaseRenewDeadline, "lease-renew-deadline", 10*time.Second, "how long the leader tries to renew before it gives up; less than --lease-duration")
	f.DurationVar(&o.leaseRetry, "lease-retry-period", 2*time.Second, "how often the Lease is renewed, or tried for")
	f.Float32Var(&o.qps, "kube-api-qps", 500, "requests a second to the API server, at most; below 0 = unbounded (the server's own fairness still holds)")
	f.IntVar(&o.burst, "kube-api-burst", 1000, "requests at once, at most")
	f.IntVar(&o.workers, "workers", 16, "targets, and page sets, that are worked on at once")
	f.StringVar(&o.listen, "listen", ":8081", "address of /healthz, /readyz and /metrics; empty = none")
	o.checkers.flags(f)
	o.api.flags(f)
	f.StringVar(&o.debugListen, "debug-listen", "", "address of /debug/pprof/, of the loopback alone, such as 127.0.0.1:6060; kubectl port-forward reaches it. Empty = none")
	f.StringVar(&o.logFormat, "log-format", "json", "json or console")
	f.StringVar(&o.logLevel, "log-level", "info", "debug (each reconcile), info (transitions), warn or error")
	f.BoolVar(&o.version, "version", false, "print the version and stop")
	return f
}

// installationFlags say what is the controller's own. Who restores needs the same.
func installationFlags(f *pflag.FlagSet, id *string, adopted *[]string) {
	f.StringVar(id, "installation-id", "", "what tells this installation from others in the cluster: it is on all that it makes, and on targets that it has in maintenance; what carries another id is left alone. Namespace and name of the Lease if empty")
	f.StringSliceVar(adopted, "adopt-installation", nil, "ids of installations that are no more, comma-separated: what they left is taken over, such as after a release was renamed")
}

// installed gives the installation that the flags name, by its Lease if by nothing else.
func installed(id string, adopted []string, namespace, lease string) installation.Installation {
	return installation.Installation{ID: cmp.Or(id, namespace+"/"+lease), Adopted: set(adopted)}
}

// checkInstallation names the ids that cannot be.
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
	return installed(o.installationID, o.adoptInstallations, o.namespace, o.leaseName)
}

func keyFlags(f *pflag.FlagSet, keys *annotations.Keys) {
	f.StringVar(&keys.Enabled, "enabled-key", annotations.DefaultEnabled, "annotation that switches maintenance on")
	f.StringVar(&keys.EnabledValue, "enabled-value", annotations.DefaultEnabledValue, "its value that means on")
	f.StringVar(&keys.CustomPage, "custom-page-key", annotations.DefaultCustomPage, "annotation that names a page")
}

func (p *pageOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&p.image, "page-image", "maintenance-controller:"+version.Version, "image of the page Pods: the controller's own")
	f.StringVar(&p.pullPolicy, "page-image-pull-policy", string(corev1.PullIfNotPresent), "Always, IfNotPresent or Never")
	f.StringSliceVar(&p.pullSecrets, "page-image-pull-secrets", nil, "Secrets to pull the image with, in the target's namespace, comma-separated")
	f.IntVar(&p.replicas, "page-replicas", 2, "Pods of a page set, 1 to 10, spread over nodes; from 2 on a PodDisruptionBudget keeps one in a drain")
	f.StringToStringVar(&p.labels, "page-labels", nil, "labels of the page Pods, key=value,…")
	f.StringToStringVar(&p.annotations, "page-annotations", nil, "annotations of the page Pods, key=value,…")
	f.StringToStringVar(&p.nodeSelector, "page-node-selector", nil, "node selector of the page Pods, key=value,…")
	f.StringVar(&p.tolerations, "page-tolerations", "", "tolerations of the page Pods, JSON or YAML list")
	f.StringVar(&p.affinity, "page-affinity", "", "affinity of the page Pods, JSON or YAML; all of them are labelled app.kubernetes.io/name=maintenance-page")
	f.StringVar(&p.spread, "page-topology-spread", "", "topology spread constraints of the page Pods, JSON or YAML list; without a labelSelector they are about the Pods of the same page set. If empty they are spread over nodes where that can be; [] = not at all")
	f.StringVar(&p.podSecurity, "page-pod-security-context", "", "securityContext of the page Pods, JSON or YAML; what it does not name stays as PodSecurity restricted asks for")
	f.StringVar(&p.security, "page-security-context", "", "securityContext of their container, likewise")
	f.StringVar(&p.resources, "page-resources", `{"requests":{"cpu":"10m","memory":"24Mi"},"limits":{"memory":"96Mi"}}`, "resources of a page Pod, JSON or YAML. Where nodes are fully used, more cpu makes for quicker answers")
	f.StringVar(&p.priorityClass, "page-priority-class", "", "PriorityClass of the page Pods")
	f.DurationVar(&p.drain, "page-drain", 10*time.Second, "how long a page Pod that is stopped goes on answering. Longer than ingress controllers take to follow endpoints (Traefik: 2s by default), or visitors get 502 and 504 when a Pod is moved")
	f.StringVar(&p.serviceType, "page-service-type", string(corev1.ServiceTypeClusterIP), "ClusterIP, NodePort (an ALB in instance mode needs it) or LoadBalancer")
	f.StringToStringVar(&p.serviceAnnotations, "page-service-annotations", nil, "annotations of the page sets' Services, key=value,…")
	f.StringVar(&p.serviceClasses, "page-service-classes", "", `what the page sets' Services have more for targets of an ingress class, JSON or YAML: {"alb": {"type": "NodePort", "annotations": {"key": "value"}}}. A page set that is used by several classes has all of it`)
	f.IntVar(&p.maxDoors, "page-max-doors", 20, "apps that people can be let through to by one page set, 1 to 99: a target with more is not put in maintenance, for a page without the bypass that was asked for would lock people out")
	f.IntVar(&p.maxSetsWithDoors, "page-max-sets-with-doors", 10, "page sets of a namespace by which people are let through, at least 1; beyond them a target that needs another one is not put in maintenance. Page Pods with doors may use 256 MiB each")
	f.DurationVar(&p.cookieLifetime, "page-bypass-cookie-lifetime", 12*time.Hour, "how long a link with a token lets somebody through, 1m to 8760h; then the link has to be opened again")
	f.StringVar(&p.networkPolicy, "page-network-policy", string(pageset.PolicyAuto), "NetworkPolicy that lets visitors reach the page Pods: auto (where the namespace has another one, which may deny the rest), always, or never")
}

// parse reads flags, and for each that is not given its environment variable.
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
		*list = set(*list)
	}
	return o, o.validate()
}

func usage(f *pflag.FlagSet, out io.Writer) {
	fmt.Fprintf(out, `Shows a maintenance page in place of any app behind an Ingress, a Traefik IngressRoute, a route of the Gateway API or a Service that is annotated:

  kubectl annotate ingress my-app maintenance/enabled=true

Every flag can be set by an environment variable as well: --page-image is %sPAGE_IMAGE. A flag wins.

  maintenance-controller restore …       ends maintenance without a controller, see restore --help
  maintenance-controller check-pages …   says what the controller would do with a page, see check-pages --help

Usage: maintenance-controller [flags]

%s`, envPrefix, f.FlagUsagesWrapped(120))
}

// validate names every flag that cannot be, not only the first.
func (o *options) validate() error {
	var errs []error
	bad := func(flag, format string, args ...any) {
		errs = append(errs, fmt.Errorf("--%s: %s", flag, fmt.Sprintf(format, args...)))
	}
	errs = append(errs, areNamespaces("namespace", []string{o.namespace}), areNamespaces("watch-namespaces", o.watchNamespaces), checkInstallation(o.installation()))
	for flag, key := range map[string]string{"enabled-key": o.keys.Enabled, "custom-page-key": o.keys.CustomPage} {
		if problems := validation.IsQualifiedName(strings.ToLower(key)); len(problems) > 0 {
			bad(flag, "%q is no annotation key: %s", key, problems[0])
		}
	}
	if o.keys.Enabled == o.keys.CustomPage {
		bad("custom-page-key", "%q is the --enabled-key as well", o.keys.CustomPage)
	}
	if annotations.Reserved(o.keys.Enabled) || annotations.Reserved(o.keys.CustomPage) {
		bad("enabled-key", "%s, %s: the controller writes one of them itself", o.keys.Enabled, o.keys.CustomPage)
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
			bad("acme-solver-services", "%q is no name of a Service, nor the beginning of one and *", name)
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
		bad("debug-listen", "%q is not an address of the loopback with a port: profiles hold what is in memory and are for those alone who may enter the Pod", o.debugListen)
	}
	if o.discover < time.Second {
		bad("discovery-interval", "%s is below 1s", o.discover)
	}
	if o.leaderElect && (o.leaseRetry <= 0 || o.leaseRetry*6/5 >= o.leaseRenewDeadline || o.leaseRenewDeadline >= o.leaseDuration) {
		bad("lease-renew-deadline", "want --lease-retry-period × 1.2 < --lease-renew-deadline < --lease-duration, have %s, %s, %s", o.leaseRetry, o.leaseRenewDeadline, o.leaseDuration)
	}
	if o.workers < 1 || o.workers > 1000 {
		bad("workers", "%d is not 1 to 1000", o.workers)
	}
	if o.qps == 0 || o.burst < 1 {
		bad("kube-api-qps", "%v with --kube-api-burst %d would let no request through", o.qps, o.burst)
	}
	return errors.Join(append(errs, o.page.validate())...)
}

// settings are the waits of plans.
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
			err = errors.Join(err, fmt.Errorf("--settle-time-classes: %q: %s is no settle time of a class", class, settle.Duration))
		}
	}
	return s, err
}

// set takes a list of a flag as the set that it is: what is named twice counts once.
// Two watches of one namespace would show each Pod twice, and one would be deleted.
func set(list []string) []string {
	var once []string
	for _, s := range list {
		if !slices.Contains(once, s) {
			once = append(once, s)
		}
	}
	return once
}

// areNamespaces names those of a flag that cannot be.
func areNamespaces(flag string, names []string) error {
	var errs []error
	for _, name := range names {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			errs = append(errs, fmt.Errorf("--%s: %q is no namespace: %s", flag, name, problems[0]))
		}
	}
	return errors.Join(errs...)
}

// kinds finds the kinds that --targets names, each once, in whatever case.
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
