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
	"maintenance-controller.io/pkg/flagenv"
	"maintenance-controller.io/pkg/page"
)

// candidate is a page that has not been checked yet.
type candidate struct {
	name  string // for people: the page and where it is
	label string // the page's name, if it has one
	data  map[string]string
	// wrong lists faults that were found before checking the keys.
	wrong []string
}

// checkPagesMain runs the check-pages command. It calls the same function as the controller,
// so that the two always agree.
func checkPagesMain(p Process) int {
	f := pflag.NewFlagSet("maintenance-controller check-pages", pflag.ContinueOnError)
	err := flagenv.Arguments(f, p.Args[1:])
	switch {
	case errors.Is(err, pflag.ErrHelp):
		checkPagesUsage(p.Stdout)
		return exitOK
	case err == nil && f.NArg() == 0:
		err = errors.New("name a file, a folder, a manifest or a values file, or - to read one of the last two from standard input")
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
		fmt.Fprintf(p.Stderr, "maintenance-controller check-pages: %d of %d pages have faults: see above\n", broken, len(found))
		return exitError
	}
	return exitOK
}

func checkPagesUsage(out io.Writer) {
	fmt.Fprint(out, `Shows what the controller would do with pages, without a cluster.

Usage: maintenance-controller check-pages PATH…

PATH is one of
  a folder        the files of one page, as for kubectl create configmap --from-file
  a file          one file of a page: page.de.html or status; spring.html is checked as page.html
  a YAML file     ConfigMaps labelled `+annotations.CustomPageLabel+`=NAME, or values of the chart; - is standard input

If one of the pages is called default, the others take missing formats from it. The output
has a line for each page and one for each of its faults. It exits with 0 if there are none.
`)
}

// report checks pages, and returns how many have faults. Other pages take missing formats from
// the page called default, as in the cluster.
func report(out io.Writer, found []candidate) (broken int) {
	defaultPage := pages.Default()
	for _, c := range found {
		if c.label == annotations.DefaultPage {
			if p, _, err := c.check(defaultPage); err == nil {
				defaultPage = p
			}
		}
	}
	for _, c := range found {
		base := defaultPage
		if c.label == annotations.DefaultPage {
			base = pages.Default()
		}
		p, faults, err := c.check(base)
		switch {
		case err != nil:
			fmt.Fprintf(out, "refused  %s: visitors would get the default page or the last good version of this one\n", c.name)
			faults = []page.Fault{{Err: err}}
		case len(faults) > 0:
			fmt.Fprintf(out, "broken   %s: visitors would get %s from the default page, and the other formats from this one\n", c.name, formatsOf(faults))
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

// check returns the page with missing formats taken from base, and its faults.
func (c candidate) check(base page.Page) (page.Page, []page.Fault, error) {
	if len(c.wrong) > 0 {
		return page.Page{}, nil, errors.New(strings.Join(c.wrong, "\n         "))
	}
	p, faults, err := page.Read(c.data)
	if err != nil {
		return page.Page{}, nil, err
	}
	p, err = p.Filled(base)
	return p, faults, err
}

// bodies are the keys of the page's own bodies.
func (c candidate) bodies() []string {
	own := slices.Collect(func(yield func(string) bool) {
		for _, key := range slices.Sorted(maps.Keys(c.data)) {
			if _, _, ok := page.SplitKey(key); ok && !yield(key) {
				return
			}
		}
	})
	if len(own) == 0 {
		return []string{"all bodies from the default page"}
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
