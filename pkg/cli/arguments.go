package cli

import (
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/labels"

	"maintenance-controller.io/pkg/target"
)

// choice says which targets are meant: by name, by label or by host.
type choice struct {
	names    []target.Ref // without a namespace
	kinds    []target.Kind
	selector string
	host     string
	all      bool // in all namespaces
}

func (c *choice) flags(f *pflag.FlagSet) {
	f.StringVarP(&c.selector, "selector", "l", "", "choose objects of TYPE by label")
	f.StringVar(&c.host, "host", "", "choose everything that serves exactly this host, of any kind: "+strings.Join(kindsWithHosts(), ", "))
	f.BoolVarP(&c.all, "all-namespaces", "A", false, "look in all namespaces; only with -l or --host")
}

// kindsWithHosts are the names of the kinds that serve hosts.
func kindsWithHosts() []string {
	var names []string
	for _, k := range target.Kinds() {
		if k.Hosts != nil {
			names = append(names, k.Name)
		}
	}
	return names
}

// chosen reads the arguments of a verb that changes targets. These must be chosen in exactly
// one way.
func (c *choice) chosen(args []string) error {
	if err := c.read(args); err != nil {
		return err
	}
	switch {
	case c.host != "" && (c.selector != "" || len(args) > 0):
		return usagef("--host chooses targets of every kind: leave out -l and %s", strings.Join(append([]string{"TYPE/NAME"}, args...), " "))
	case c.host != "", c.selector != "" && len(c.kinds) > 0 && len(c.names) == 0:
		return nil
	case c.selector != "":
		return usagef("-l chooses objects of a type: give TYPE -l SELECTOR, such as ingress -l app=shop, without names")
	case c.all:
		return usagef("-A is only for TYPE -l SELECTOR and --host HOST: choose the namespace of a name with -n")
	case len(c.names) == 0:
		return usagef("name a target: TYPE/NAME, such as ingress/my-app, or TYPE -l SELECTOR, or --host HOST")
	}
	return nil
}

// read reads arguments as kubectl does: TYPE/NAME…, TYPE NAME…, TYPE,TYPE.
func (c *choice) read(args []string) error {
	if c.selector != "" {
		if _, err := labels.Parse(c.selector); err != nil {
			return usagef("-l: %w", err)
		}
	}
	if c.host != "" {
		h := target.ParseHost(c.host)
		if h.Form != target.ExactHost || strings.ContainsAny(c.host, "/:*") || !ascii(c.host) {
			return usagef("--host %q is not a host name: give it without scheme, port and path, and in its xn-- form if it is not ASCII", c.host)
		}
		c.host = h.Name
	}
	if len(args) == 0 {
		return nil
	}
	if !strings.Contains(args[0], "/") {
		return c.readTypes(args)
	}
	for _, arg := range args {
		kind, name, _ := strings.Cut(arg, "/")
		if err := c.add(kind, name, arg); err != nil {
			return err
		}
	}
	return nil
}

func (c *choice) readTypes(args []string) error {
	for _, arg := range args[1:] {
		if err := c.add(args[0], arg, arg); err != nil {
			return err
		}
	}
	for name := range strings.SplitSeq(args[0], ",") {
		kind, err := kindNamed(name)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(c.kinds, func(k target.Kind) bool { return k.Name == kind.Name }) {
			c.kinds = append(c.kinds, kind)
		}
	}
	return nil
}

func (c *choice) add(kindText, name, arg string) error {
	kind, err := kindNamed(kindText)
	switch {
	case err != nil:
		return err
	case name == "" || len(path.IsValidPathSegmentName(name)) > 0:
		return usagef("%q is not TYPE/NAME, such as ingress/my-app", arg)
	}
	ref := target.Ref{Kind: kind.Name, Name: name}
	if !slices.Contains(c.names, ref) {
		c.names = append(c.names, ref)
	}
	return nil
}

func kindNamed(text string) (target.Kind, error) {
	kind, ok := target.KindByArgument(text)
	if !ok {
		return kind, usagef("%q is not a type that can be put in maintenance: use %s", text, strings.Join(typeNames(), ", "))
	}
	return kind, nil
}

// typeNames are the names of the kinds as people type them.
func typeNames() (names []string) {
	for _, k := range target.Kinds() {
		names = append(names, strings.ToLower(k.Name))
	}
	return names
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > '~' || r <= ' ' })
}
