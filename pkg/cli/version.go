package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"maintenance-controller.io/pkg/version"
)

// build is what version -o json and -o yaml print.
type build struct {
	Version   string `json:"version"`
	Commit    string `json:"commit"`
	Date      string `json:"date"`
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"`
}

func (s *session) versionCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use:               "version",
		Short:             "Print the version of the plugin",
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return usagef("version takes no arguments")
			case o.format == "":
				fmt.Fprintln(s.Stdout, version.String())
				return nil
			case o.format != "json" && o.format != "yaml":
				return usagef("-o %s: use json or yaml", o.format)
			}
			return o.write(s.Stdout, build{version.Version, version.Commit, version.Date, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
		},
	}
	c.Flags().StringVarP(&o.format, "output", "o", "", "output format: json or yaml; empty = text")
	return c
}
