package app

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
)

// candidate is a page as it was found, not judged yet.
type candidate struct {
	name  string // for people: of the page, and where it is
	label string // the page's name, if it has one
	data  map[string]string
	// wrong says what is wrong with it before anybody looks at its keys.
	wrong []string
}

// checkPagesMain runs the check-pages command. It asks the same function as the
// controller, so that what passes here is shown, and what does not is not.
func checkPagesMain(p Process) int {
	f := pflag.NewFlagSet("maintenance-controller check-pages", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	err := f.Parse(p.Args[1:])
	switch {
	case errors.Is(err, pflag.ErrHelp):
		checkPagesUsage(p.Stdout)
		return exitOK
	case err == nil && f.NArg() == 0:
		err = errors.New("name a file, a folder, a manifest or a values file, or - for one of the latter on standard input")
	}
	if err != nil {
		fmt.Fprintf(p.Stderr, "maintenance-controller check-pages: %v\nSee maintenance-controller check-pages --help.\n", err)
		return exitUsage
	}
	var found []candidate
	for _, path := range f.Args() {
		more, err := findPages(path, p.Stdin)
		if err != nil {
			fmt.Fprintf(p.Stderr, "maintenance-controller check-pages: %v\n", err)
			return exitError
		}
		found = append(found, more...)
	}
	if broken := report(p.Stdout, found); broken > 0 {
		fmt.Fprintf(p.Stderr, "maintenance-controller check-pages: %d of %d pages are not as they should be: see above\n", broken, len(found))
		return exitError
	}
	return exitOK
}

func checkPagesUsage(out io.Writer) {
	fmt.Fprint(out, `Says what the controller would do with pages, without a cluster.

Usage: maintenance-controller check-pages PATH…

PATH is one of
  a folder        a page of the files in it, as kubectl create configmap --from-file makes one
  a file          of a page: page.de.html, status; or spring.html, which is judged as page.html
  a YAML file     ConfigMaps labelled `+annotations.CustomPageLabel+`=NAME, or values of the chart; - is standard input

A page called default among them fills the others. Each page is one line, and each
fault of it another. Without a fault it exits with 0.
`)
}

// report judges pages and gives how many are not as they should be. A page called
// default fills the others, as it does in the cluster.
func report(out io.Writer, found []candidate) (broken int) {
	standard := pages.Default()
	for _, c := range found {
		if c.label == annotations.DefaultPage {
			if p, _, err := c.judge(standard); err == nil {
				standard = p
			}
		}
	}
	for _, c := range found {
		fill := standard
		if c.label == annotations.DefaultPage {
			fill = pages.Default()
		}
		p, faults, err := c.judge(fill)
		switch {
		case err != nil:
			fmt.Fprintf(out, "refused  %s: visitors would get the default page, or the last good version of this one\n", c.name)
			faults = []page.Fault{{Err: err}}
		case len(faults) > 0:
			fmt.Fprintf(out, "broken   %s: visitors would get the default page's %s, and this page's other formats\n", c.name, formatsOf(faults))
		default:
			fmt.Fprintf(out, "ok       %s: status %d, %s\n", c.name, p.Status, strings.Join(c.bodies(), ", "))
			continue
		}
		broken++
		for _, f := range faults {
			fmt.Fprintf(out, "         %s\n", f.Error())
		}
	}
	return broken
}

func (c candidate) judge(standard page.Page) (page.Page, []page.Fault, error) {
	if len(c.wrong) > 0 {
		return page.Page{}, nil, errors.New(strings.Join(c.wrong, "\n         "))
	}
	p, faults, err := page.Read(c.data)
	if err != nil {
		return page.Page{}, nil, err
	}
	p, err = p.Filled(standard)
	return p, faults, err
}

// bodies are the keys that are the page's own.
func (c candidate) bodies() []string {
	own := slices.Collect(func(yield func(string) bool) {
		for _, key := range slices.Sorted(maps.Keys(c.data)) {
			if _, _, ok := page.SplitKey(key); ok && !yield(key) {
				return
			}
		}
	})
	if len(own) == 0 {
		return []string{"no body of its own"}
	}
	return own
}

func formatsOf(faults []page.Fault) string {
	var names []string
	for _, f := range faults {
		names = append(names, f.Format)
	}
	return strings.Join(names, ", ")
}
