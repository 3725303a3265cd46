// Package flagenv reads the flags of a program from its arguments, and those that
// are not given there from environment variables.
package flagenv

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// Process is what a program gets from the operating system.
type Process struct {
	Args           []string // without the program's name
	Env            func(string) (string, bool)
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Parse sets the flags from args, which must hold nothing else, and each that is not
// given from the environment variable of its name; one that is set counts even if it
// is empty. It writes nothing: with --help it returns pflag.ErrHelp. Its error names
// every variable that cannot be read. A flag named version has no variable.
func Parse(f *pflag.FlagSet, args []string, env func(string) (string, bool), variable func(flag string) string) error {
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("argument %q is not known: everything is a flag, see --help", f.Arg(0))
	}
	var errs []error
	f.VisitAll(func(flag *pflag.Flag) {
		name := variable(flag.Name)
		if value, ok := env(name); ok && !flag.Changed && flag.Name != "version" {
			if err := f.Set(flag.Name, value); err != nil {
				errs = append(errs, fmt.Errorf("environment variable %s is %q: %w", name, value, err))
			}
		}
	})
	return errors.Join(errs...)
}

// Variable gives the environment variable of a flag: with the prefix MAINTENANCE_,
// --page-image is MAINTENANCE_PAGE_IMAGE.
func Variable(prefix, flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
