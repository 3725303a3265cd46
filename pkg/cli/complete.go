package cli

import (
	"context"
	_ "embed" // of the script
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// completion is the program that kubectl runs to complete the plugin's arguments.
//
//go:embed kubectl_complete-maintenance
var completion string

// completePlugin adds the command that prints this program.
func (s *session) completePlugin(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Short = "Print the completion script for kubectl or for a shell"
		c.Long = `Prints a completion script. kubectl completes plugins by running programs on the PATH, so one is enough for every shell:

  kubectl maintenance completion kubectl > ~/.local/bin/kubectl_complete-maintenance && chmod +x ~/.local/bin/kubectl_complete-maintenance

The others complete the program when it is called as kubectl-maintenance.`
		c.AddCommand(&cobra.Command{
			Use: "kubectl", Short: "Print kubectl_complete-maintenance", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
			Run: func(*cobra.Command, []string) { fmt.Fprint(s.Stdout, completion) },
		})
	}
}

// completionTimeout is how long a completion may take.
const completionTimeout = 3 * time.Second

// completeFlags adds completion for the values of a verb's flags.
func (s *session) completeFlags(c *cobra.Command) {
	fixed := map[string][]string{"output": {"json", "yaml", "wide", "name"}, "dry-run": {"server", "none"}, "until": {"never"}}
	for name, values := range fixed {
		if c.Flags().Lookup(name) != nil {
			_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
		}
	}
	for name, complete := range map[string]cobra.CompletionFunc{"page": s.completePages, "host": s.completeHosts} {
		if c.Flags().Lookup(name) != nil {
			_ = c.RegisterFlagCompletionFunc(name, complete) // the flag is there
		}
	}
	for _, name := range []string{"reason", "by", "for", "timeout", "selector", "settle-time", "lease-duration"} {
		if c.Flags().Lookup(name) != nil {
			_ = c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions) // the flag is there
		}
	}
}

func (s *session) completeTypes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return typeNames(), cobra.ShellCompDirectiveNoFileComp
}

// completeTargets completes TYPE/NAME, and NAME after TYPE.
func (s *session) completeTargets(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	return s.completeNames(c, args, begun, func(update) bool { return true })
}

// completeInMaintenance is the same for targets in maintenance.
func (s *session) completeInMaintenance(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	return s.completeNames(c, args, begun, func(u update) bool { _, in := u.row(s.keys); return in })
}

// completeRun leaves the arguments after -- to the shell.
func (s *session) completeRun(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if c.ArgsLenAtDash() >= 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return s.completeTargets(c, args, begun)
}

func (s *session) completeNames(c *cobra.Command, args []string, begun string, ok func(update) bool) (names []string, d cobra.ShellCompDirective) {
	d = cobra.ShellCompDirectiveNoFileComp
	kindText, _, slash := strings.Cut(begun, "/")
	afterType := len(args) > 0 && !strings.Contains(args[0], "/")
	if afterType {
		kindText = args[0]
	} else if !slash {
		for _, name := range typeNames() {
			names = append(names, name+"/")
		}
		return names, d | cobra.ShellCompDirectiveNoSpace
	}
	kind, known := target.KindByArgument(kindText)
	if !known || s.connect() != nil {
		return nil, d
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTimeout)
	defer cancel()
	list, err := s.metadata.Resource(kind.Resource).Namespace(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, d
	}
	for i := range list.Items {
		meta := &list.Items[i]
		name := meta.Name
		if !afterType {
			name = kindText + "/" + name
		}
		own := meta.Labels[annotations.ManagedByLabel] == annotations.ManagedBy
		if !own && !slices.Contains(args, name) && ok(update{kind: kind, meta: meta}) {
			names = append(names, name)
		}
	}
	return names, d
}

// completePages completes the pages of the namespace. There may be others in the controller's
// namespace, which people cannot read.
func (s *session) completePages(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	names := []string{annotations.DefaultPage}
	if s.connect() != nil {
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTimeout)
	defer cancel()
	list, err := s.core.ConfigMaps(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: annotations.CustomPageLabel})
	if err != nil {
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	for _, page := range list.Items {
		if name := page.Labels[annotations.CustomPageLabel]; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (s *session) completeHosts(c *cobra.Command, _ []string, _ string) (names []string, d cobra.ShellCompDirective) {
	d = cobra.ShellCompDirectiveNoFileComp
	if s.connect() != nil {
		return nil, d
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTimeout)
	defer cancel()
	for _, kind := range target.Kinds() {
		all, err := s.list(ctx, kind, choice{})
		if err != nil {
			continue
		}
		for _, f := range all {
			for _, h := range kind.Hosts(f.object.Object) {
				if h.Form == target.ExactHost && !slices.Contains(names, h.Name) {
					names = append(names, h.Name)
				}
			}
		}
	}
	return names, d
}

func (s *session) completeNamespaces(c *cobra.Command, _ []string, _ string) (names []string, d cobra.ShellCompDirective) {
	d = cobra.ShellCompDirectiveNoFileComp
	if s.connect() != nil {
		return nil, d
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTimeout)
	defer cancel()
	list, err := s.core.Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, d
	}
	for _, ns := range list.Items {
		names = append(names, ns.Name)
	}
	return names, d
}
