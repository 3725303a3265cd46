// Package flagenv reads a program's flags from its arguments, and those that are not given
// there from environment variables.
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
	// Args are the arguments without the program's name.
	Args []string
	// Env looks up an environment variable, like os.LookupEnv.
	Env func(string) (string, bool)
	// Stdin is the standard input.
	Stdin io.Reader
	// Stdout is the standard output, and Stderr is for logs and errors.
	Stdout, Stderr io.Writer
}

// Arguments sets the flags from args, and writes nothing: with --help it returns pflag.ErrHelp.
// What is no flag stays in f.Args.
func Arguments(f *pflag.FlagSet, args []string) error {
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f.Parse(args)
}

// Parse sets the flags from args, which must have nothing else, and the others from their
// environment variables. A variable that is set counts even if it is empty. A flag named
// version has no variable. Parse writes nothing: with --help it returns pflag.ErrHelp. Its
// error names all variables with invalid values.
func Parse(f *pflag.FlagSet, args []string, env func(string) (string, bool), variable func(flag string) string) error {
	if err := Arguments(f, args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: this program takes only flags, see --help", f.Arg(0))
	}
	return FromEnvironment(f, env, func(flag string) string {
		if flag == "version" {
			return ""
		}
		return variable(flag)
	})
}

// FromEnvironment sets the flags that no argument has set from their environment variables. variable
// is empty for a flag without one. The error names all variables with invalid values.
func FromEnvironment(f *pflag.FlagSet, env func(string) (string, bool), variable func(flag string) string) error {
	var errs []error
	f.VisitAll(func(flag *pflag.Flag) {
		name := variable(flag.Name)
		if name == "" || flag.Changed {
			return
		}
		if value, ok := env(name); ok {
			if err := f.Set(flag.Name, value); err != nil {
				errs = append(errs, fmt.Errorf("environment variable %s is %q: %w", name, value, err))
			}
		}
	})
	return errors.Join(errs...)
}

// Variable returns the name of a flag's environment variable: with the prefix MAINTENANCE_,
// that of --page-image is MAINTENANCE_PAGE_IMAGE.
func Variable(prefix, flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
