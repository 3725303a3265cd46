package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/restore"
	"maintenance-controller.io/pkg/target"
)

// restoreOptions are the flags and arguments of the restore command.
type restoreOptions struct {
	cluster         clusterOptions
	namespace       string
	refs            []target.Ref // their namespace is set once the kubeconfig is read
	all             bool
	watchNamespaces []string
	targets         []string
	keys            annotations.Keys

	removeAnnotations, dryRun bool
	ownNamespace, leaseName   string
	installationID            string
	adoptInstallations        []string
	allInstallations          bool
	scaleDown                 string
	grace, timeout            time.Duration
}

func (o *restoreOptions) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("maintenance-controller restore", pflag.ContinueOnError)
	f.SortFlags = false
	o.cluster.flags(f)
	f.StringVarP(&o.namespace, "namespace", "n", "", "namespace of the targets that are named; that of the kubeconfig's context if empty")
	f.BoolVar(&o.all, "all", false, "restore every target, then delete the page sets that are not used any more")
	f.StringSliceVar(&o.watchNamespaces, "watch-namespaces", nil, "with --all: the namespaces that are looked at, comma-separated; all if empty")
	f.StringSliceVar(&o.targets, "targets", kindNames(), "with --all: the kinds that are looked at, comma-separated")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would change, as the API server would store it, and change nothing")
	f.BoolVar(&o.removeAnnotations, "remove-annotations", false, "take off what people wrote as well (--enabled-key, --custom-page-key): a controller that is started later would put the targets in maintenance again")
	keyFlags(f, &o.keys)
	f.StringVar(&o.ownNamespace, "controller-namespace", "maintenance-system", "namespace of the controller: its Lease and its Deployment")
	f.StringVar(&o.leaseName, "lease-name", "maintenance-controller", "name of the controller's Lease. While a controller holds it, targets that ask for maintenance are not restored: it would put them in again")
	installationFlags(f, &o.installationID, &o.adoptInstallations)
	f.BoolVar(&o.allInstallations, "all-installations", false, "with --all: end maintenance whichever installation of the controller it is of, not only this one's and what carries no id")
	f.StringVar(&o.scaleDown, "scale-down", "", "with --all: scale this Deployment of the controller to 0 first, wait for its Pods, and delete the Lease at the end")
	f.DurationVar(&o.grace, "page-set-grace-period", 10*time.Second, "with --all: how long page sets stay after the restore, for ingress controllers that lag")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "when to give up restoring what fails; what is not used any more is deleted after that")
	return f
}

func parseRestore(p Process) (*restoreOptions, error) {
	o := &restoreOptions{}
	f := o.flags()
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	if err := f.Parse(p.Args[1:]); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			restoreUsage(f, p.Stdout)
		}
		return nil, err
	}
	return o, o.complete(f.Args())
}

func restoreUsage(f *pflag.FlagSet, out io.Writer) {
	fmt.Fprintf(out, `Ends maintenance without a controller: the backends that were swapped are put back, and what the controller wrote goes.
It needs the rights of the controller, for which any kubeconfig will do.

Usage: maintenance-controller restore KIND/NAME… [-n NAMESPACE] [flags]
       maintenance-controller restore --all [flags]

%s
It exits with 1 if anything could not be restored, and says what and why.
`, f.FlagUsagesWrapped(120))
}

// complete reads the arguments and names everything that cannot be.
func (o *restoreOptions) complete(args []string) error {
	var errs []error
	for _, arg := range args {
		kind, name, ok := strings.Cut(arg, "/")
		k, known := target.KindByArgument(kind)
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("argument %q is not KIND/NAME, such as ingress/my-app", arg))
		case !known:
			errs = append(errs, fmt.Errorf("argument %q: kind is not one of %s", arg, strings.Join(kindNames(), ", ")))
		case len(validation.IsDNS1123Subdomain(name)) > 0:
			errs = append(errs, fmt.Errorf("argument %q: %q is no name: %s", arg, name, validation.IsDNS1123Subdomain(name)[0]))
		default:
			if ref := (target.Ref{Kind: k.Name, Name: name}); !slices.Contains(o.refs, ref) {
				o.refs = append(o.refs, ref)
			}
		}
	}
	switch {
	case o.all && len(args) > 0:
		errs = append(errs, errors.New("name targets or say --all, not both"))
	case o.all && o.namespace != "":
		errs = append(errs, errors.New("--namespace is for targets that are named: with --all, use --watch-namespaces"))
	case !o.all && len(args) == 0:
		errs = append(errs, errors.New("name a target, such as ingress/my-app, or say --all"))
	case !o.all && o.scaleDown != "":
		errs = append(errs, errors.New("--scale-down is for --all: a controller that does not run restores nothing else"))
	case !o.all && o.allInstallations:
		errs = append(errs, errors.New("--all-installations is for --all: a target that is named is restored whosever it is"))
	}
	if o.timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout: %s is not above 0", o.timeout))
	}
	if o.grace < 0 {
		errs = append(errs, fmt.Errorf("--page-set-grace-period: %s is below 0", o.grace))
	}
	o.watchNamespaces = set(o.watchNamespaces)
	errs = append(errs, checkInstallation(o.installation()))
	_, err := kinds(o.targets)
	return errors.Join(append(errs, areNamespaces("watch-namespaces", o.watchNamespaces), err)...)
}

// installation whose maintenance is ended with --all.
func (o *restoreOptions) installation() installation.Installation {
	return installed(o.installationID, o.adoptInstallations, o.ownNamespace, o.leaseName)
}

// restoreMain runs the restore command.
func restoreMain(ctx context.Context, p Process) int {
	o, err := parseRestore(p)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(p.Stderr, "maintenance-controller restore: %v\nSee maintenance-controller restore --help.\n", err)
		return exitUsage
	}
	if err := o.run(ctx, p); err != nil {
		fmt.Fprintf(p.Stderr, "maintenance-controller restore: %v\n", err)
		return exitError
	}
	return exitOK
}

func (o *restoreOptions) run(ctx context.Context, p Process) error {
	config, err := o.cluster.config()
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400
	c, err := connect(config)
	if err != nil {
		return err
	}
	kinds, err := kinds(o.targets)
	if err != nil {
		return err
	}
	own := o.installation()
	if o.allInstallations {
		own = installation.Installation{}
	}
	r := &restore.Restorer{Config: restore.Config{
		Installation: own,
		Client:       c.client, Dynamic: c.dynamic, Kinds: kinds, Keys: o.keys, RemoveAnnotations: o.removeAnnotations, DryRun: o.dryRun,
	}}
	report := &restoreReport{out: p.Stdout, dryRun: o.dryRun, key: o.keys.Enabled}
	limited, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("--timeout of %s is over", o.timeout))
	defer cancel()
	if !o.all {
		return o.named(limited, r, report)
	}
	if err := o.rest(limited, r, report); err != nil {
		return err
	}
	namespaces := o.watchNamespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	err = r.Everything(limited, namespaces, report.outcome)
	if !o.dryRun {
		err = errors.Join(err, o.collect(ctx, r, report, namespaces))
	}
	return errors.Join(err, report.end())
}

// named restores the targets of the arguments.
func (o *restoreOptions) named(ctx context.Context, r *restore.Restorer, report *restoreReport) error {
	namespace := o.namespace
	if namespace == "" {
		var err error
		if namespace, _, err = o.cluster.loader().Namespace(); err != nil {
			return fmt.Errorf("namespace of the kubeconfig: %w", err)
		}
	}
	r.Working = o.whoWorks(ctx, r, report)
	for _, ref := range o.refs {
		ref.Namespace = namespace
		report.outcome(r.Target(ctx, ref))
	}
	return report.end()
}

// rest stops the controller, or finds out which one goes on working.
func (o *restoreOptions) rest(ctx context.Context, r *restore.Restorer, report *restoreReport) error {
	switch {
	case o.scaleDown == "":
		r.Working = o.whoWorks(ctx, r, report)
		return nil
	case o.dryRun: // none would work by then
		report.say("would scale Deployment %s/%s to 0", o.ownNamespace, o.scaleDown)
		return nil
	default:
		report.say("scale Deployment %s/%s to 0", o.ownNamespace, o.scaleDown)
		return restore.Rest(ctx, r.Client, o.ownNamespace, o.scaleDown)
	}
}

// collectTimeout bounds what comes after the restore, whose time may be over: a target
// that cannot be restored must not keep what no other uses.
const collectTimeout = 20 * time.Second

// collect deletes what is left once ingress controllers have followed.
func (o *restoreOptions) collect(ctx context.Context, r *restore.Restorer, report *restoreReport, namespaces []string) error {
	if report.changed {
		report.say("page sets stay another %s, for ingress controllers that lag", o.grace)
		select {
		case <-time.After(o.grace):
		case <-ctx.Done():
		}
	}
	ctx, cancel := context.WithTimeout(ctx, collectTimeout)
	defer cancel()
	deleted, used, err := r.Collect(ctx, namespaces)
	report.collected(deleted, used)
	if o.scaleDown != "" {
		err = errors.Join(err, restore.DropLease(ctx, r.Client, o.ownNamespace, o.leaseName))
	}
	return err
}

// whoWorks names the controller that works. Should that be unknown, a person is told.
func (o *restoreOptions) whoWorks(ctx context.Context, r *restore.Restorer, report *restoreReport) string {
	holder, err := restore.Leader(ctx, r.Client, o.ownNamespace, o.leaseName)
	if err != nil {
		report.say("whether a controller works cannot be known (%v): if one does, it puts targets that ask for it in maintenance again", err)
	}
	return holder
}
