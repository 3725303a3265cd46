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
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/flagenv"
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
	f.StringVarP(&o.namespace, "namespace", "n", "", "namespace of the named targets; empty = that of the kubeconfig's context")
	f.BoolVar(&o.all, "all", false, "restore every target, then delete the page sets that are no longer used")
	f.StringSliceVar(&o.watchNamespaces, "watch-namespaces", nil, "with --all: namespaces to search, comma-separated; empty = all")
	f.StringSliceVar(&o.targets, "targets", kindNames(), "with --all: kinds to restore, comma-separated")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would change, as the API server would store it, and change nothing")
	f.BoolVar(&o.removeAnnotations, "remove-annotations", false, "also remove the annotations that ask for maintenance, its page, end and automation: a controller that starts later would put the targets in maintenance again")
	keyFlags(f, &o.keys)
	f.StringVar(&o.ownNamespace, "controller-namespace", "maintenance-system", "namespace of the controller's Lease and Deployment")
	f.StringVar(&o.leaseName, "lease-name", "maintenance-controller", "name of the controller's Lease. While a controller holds it, targets that ask for maintenance are not restored: it would put them in maintenance again")
	installationFlags(f, &o.installationID, &o.adoptInstallations)
	f.BoolVar(&o.allInstallations, "all-installations", false, "with --all: end the maintenance of every installation of the controller, not only of this one and of targets without an id")
	f.StringVar(&o.scaleDown, "scale-down", "", "with --all: first scale this Deployment of the controller to 0 and wait for its Pods to end; at the end delete the Lease")
	f.DurationVar(&o.grace, "page-set-grace-period", 10*time.Second, "with --all: how long page sets stay after the restore, for ingress controllers that lag behind")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to retry targets that cannot be restored; after that, unused page sets are deleted")
	return f
}

func parseRestore(p Process) (*restoreOptions, error) {
	o := &restoreOptions{}
	f := o.flags()
	if err := flagenv.Arguments(f, p.Args[1:]); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			restoreUsage(f, p.Stdout)
		}
		return nil, err
	}
	return o, o.complete(f.Args())
}

func restoreUsage(f *pflag.FlagSet, out io.Writer) {
	fmt.Fprintf(out, `Ends maintenance without the controller: restores the swapped backends and removes what the controller wrote.
It runs with your kubeconfig, which needs the same rights as the controller.

Usage: maintenance-controller restore KIND/NAME… [-n NAMESPACE] [flags]
       maintenance-controller restore --all [flags]

%s
If anything could not be restored, it says what and why, and exits with 1.
`, f.FlagUsagesWrapped(120))
}

// complete reads the arguments, and returns an error that names everything that is invalid.
func (o *restoreOptions) complete(args []string) error {
	var errs []error
	for _, arg := range args {
		kind, name, ok := strings.Cut(arg, "/")
		k, known := target.KindByArgument(kind)
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("argument %q is not KIND/NAME, such as ingress/my-app", arg))
		case !known:
			errs = append(errs, fmt.Errorf("argument %q: the kind is not one of %s", arg, strings.Join(kindNames(), ", ")))
		case len(validation.IsDNS1123Subdomain(name)) > 0:
			errs = append(errs, fmt.Errorf("argument %q: %q is not a name: %s", arg, name, validation.IsDNS1123Subdomain(name)[0]))
		default:
			if ref := (target.Ref{Kind: k.Name, Name: name}); !slices.Contains(o.refs, ref) {
				o.refs = append(o.refs, ref)
			}
		}
	}
	switch {
	case o.all && len(args) > 0:
		errs = append(errs, errors.New("name targets or give --all, not both"))
	case o.all && o.namespace != "":
		errs = append(errs, errors.New("--namespace is for named targets: with --all, use --watch-namespaces"))
	case !o.all && len(args) == 0:
		errs = append(errs, errors.New("name a target, such as ingress/my-app, or give --all"))
	case !o.all && o.scaleDown != "":
		errs = append(errs, errors.New("--scale-down needs --all: a controller that does not run cannot restore the other targets"))
	case !o.all && o.allInstallations:
		errs = append(errs, errors.New("--all-installations needs --all: a named target is restored whichever installation has it"))
	}
	if o.timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout: %s is not greater than 0", o.timeout))
	}
	if o.grace < 0 {
		errs = append(errs, fmt.Errorf("--page-set-grace-period: %s is below 0", o.grace))
	}
	o.watchNamespaces = unique(o.watchNamespaces)
	errs = append(errs, checkInstallation(o.installation()))
	_, err := kinds(o.targets)
	return errors.Join(append(errs, checkNamespaces("watch-namespaces", o.watchNamespaces), err)...)
}

// installation whose maintenance is ended with --all.
func (o *restoreOptions) installation() installation.Installation {
	return newInstallation(o.installationID, o.adoptInstallations, o.ownNamespace, o.leaseName)
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
	limited, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("the --timeout of %s has passed", o.timeout))
	defer cancel()
	if !o.all {
		return o.restoreNamed(limited, r, report)
	}
	if err := o.stopController(limited, r, report); err != nil {
		return err
	}
	namespaces := o.watchNamespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	err = r.All(limited, namespaces, report.outcome)
	if !o.dryRun {
		err = errors.Join(err, o.collect(ctx, r, report, namespaces))
	}
	return errors.Join(err, report.end())
}

// restoreNamed restores the targets that are named.
func (o *restoreOptions) restoreNamed(ctx context.Context, r *restore.Restorer, report *restoreReport) error {
	namespace := o.namespace
	if namespace == "" {
		var err error
		if namespace, _, err = o.cluster.loader().Namespace(); err != nil {
			return fmt.Errorf("read the namespace from the kubeconfig: %w", err)
		}
	}
	r.ActiveController = o.leader(ctx, r, report)
	for _, ref := range o.refs {
		ref.Namespace = namespace
		report.outcome(r.Target(ctx, ref))
	}
	return report.end()
}

// stopController scales the controller down if that is asked for, or finds out whether one
// works.
func (o *restoreOptions) stopController(ctx context.Context, r *restore.Restorer, report *restoreReport) error {
	switch {
	case o.scaleDown == "":
		r.ActiveController = o.leader(ctx, r, report)
		return nil
	case o.dryRun: // by then none would work
		report.say("would scale Deployment %s/%s to 0", o.ownNamespace, o.scaleDown)
		return nil
	default:
		report.say("scaling Deployment %s/%s to 0", o.ownNamespace, o.scaleDown)
		return restore.ScaleDown(ctx, r.Client, o.ownNamespace, o.scaleDown)
	}
}

// collectTimeout is how long deleting unused page sets may take. It does not count as part of
// --timeout, which may have passed: a target that cannot be restored must not keep page sets
// that no other target uses.
const collectTimeout = 20 * time.Second

// collect deletes unused page sets after the grace period, and the Lease if the controller was
// scaled down.
func (o *restoreOptions) collect(ctx context.Context, r *restore.Restorer, report *restoreReport, namespaces []string) error {
	if report.changed {
		report.say("keeping page sets for another %s, for ingress controllers that lag behind", o.grace)
		select {
		case <-time.After(o.grace):
		case <-ctx.Done():
		}
	}
	ctx, cancel := context.WithTimeout(ctx, collectTimeout)
	defer cancel()
	deleted, used, err := r.DeletePageSets(ctx, namespaces)
	report.collected(deleted, used)
	if o.scaleDown != "" {
		err = errors.Join(err, restore.DeleteLease(ctx, r.Client, o.ownNamespace, o.leaseName))
	}
	return err
}

// leader is the identity of the controller that works; empty if none does. It reports if it
// cannot find out.
func (o *restoreOptions) leader(ctx context.Context, r *restore.Restorer, report *restoreReport) string {
	holder, err := restore.Leader(ctx, r.Client, clock.RealClock{}, o.ownNamespace, o.leaseName)
	if err != nil {
		report.say("cannot tell whether a controller is running (%v): if one is, it puts targets that ask for maintenance in maintenance again", err)
	}
	return holder
}
