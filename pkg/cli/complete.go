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

// completion is the program that kubectl asks what could come next.
//
//go:embed kubectl_complete-maintenance
var completion string

// completePlugin adds how kubectl itself learns to complete the plugin.
func (s *session) completePlugin(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Short = "Write the completion script for kubectl, or for a shell"
		c.Long = `Writes a completion script. kubectl completes its plugins by programs on the PATH, so that one is enough for every shell:

  kubectl maintenance completion kubectl > ~/.local/bin/kubectl_complete-maintenance && chmod +x ~/.local/bin/kubectl_complete-maintenance

The others are for those who type kubectl-maintenance.`
		c.AddCommand(&cobra.Command{
			Use: "kubectl", Short: "Write kubectl_complete-maintenance", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
			Run: func(*cobra.Command, []string) { fmt.Fprint(s.Stdout, completion) },
		})
	}
}

// completing bounds how long somebody waits who has pressed Tab.
const completing = 3 * time.Second

// completeFlags completes what the flags of a verb may be.
func (s *session) completeFlags(c *cobra.Command) {
	fixed := map[string][]string{"output": {"json", "yaml", "wide", "name"}, "dry-run": {"server", "none"}, "until": {"never"}}
	for name, values := range fixed {
		if c.Flags().Lookup(name) != nil {
			_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
		}
	}
	for name, complete := range map[string]cobra.CompletionFunc{"page": s.completePages, "host": s.completeHosts} {
		if c.Flags().Lookup(name) != nil {
			_ = c.RegisterFlagCompletionFunc(name, complete) // likewise
		}
	}
	for _, name := range []string{"reason", "by", "for", "timeout", "selector", "settle-time", "lease-duration"} {
		if c.Flags().Lookup(name) != nil {
			_ = c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions) // likewise
		}
	}
}

func (s *session) completeTypes(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return typeNames(), cobra.ShellCompDirectiveNoFileComp
}

// completeTargets completes TYPE/NAME, and NAME behind a TYPE.
func (s *session) completeTargets(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	return s.completeNames(c, args, begun, func(sighting) bool { return true })
}

// completeInMaintenance is the same for what can be ended.
func (s *session) completeInMaintenance(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	return s.completeNames(c, args, begun, func(g sighting) bool { _, in := g.row(s.keys); return in })
}

// completeRun leaves what comes behind -- to the shell.
func (s *session) completeRun(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if c.ArgsLenAtDash() >= 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return s.completeTargets(c, args, begun)
}

func (s *session) completeNames(c *cobra.Command, args []string, begun string, ok func(sighting) bool) (names []string, d cobra.ShellCompDirective) {
	d = cobra.ShellCompDirectiveNoFileComp
	kindText, _, slash := strings.Cut(begun, "/")
	behindType := len(args) > 0 && !strings.Contains(args[0], "/")
	if behindType {
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
	ctx, cancel := context.WithTimeout(c.Context(), completing)
	defer cancel()
	list, err := s.metadata.Resource(kind.Resource).Namespace(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, d
	}
	for i := range list.Items {
		meta := &list.Items[i]
		name := meta.Name
		if !behindType {
			name = kindText + "/" + name
		}
		own := meta.Labels[annotations.ManagedByLabel] == annotations.ManagedBy
		if !own && !slices.Contains(args, name) && ok(sighting{kind: kind, meta: meta}) {
			names = append(names, name)
		}
	}
	return names, d
}

// completePages completes the pages of the namespace: where the controller has others,
// a person may not look.
func (s *session) completePages(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	names := []string{annotations.DefaultPage}
	if s.connect() != nil {
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), completing)
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
	ctx, cancel := context.WithTimeout(c.Context(), completing)
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
	ctx, cancel := context.WithTimeout(c.Context(), completing)
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
