// Package cli implements kubectl-maintenance. It reads and writes annotations and Leases with
// the rights of the person who runs it, and leaves the rest to the controller.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"maintenance-controller.io/pkg/printable"
)

// Exit codes, for scripts. The command run exits with the code of its command, or with
// ExitRunFailed if anything else fails.
const (
	ExitOK        = 0   // everything went as asked
	ExitFailed    = 1   // failed, or not as asked
	ExitUsage     = 2   // invalid arguments or flags
	ExitTimeout   = 3   // timed out; what was requested stays requested
	ExitRunFailed = 125 // run failed, and not its command
)

// FieldManager is the field manager of what the plugin writes. Its name must not begin with
// kubectl, because Flux undoes what such managers write.
const FieldManager = "maintenance-cli"

// envPrefix is the prefix of the flags' environment variables.
const envPrefix = "MAINTENANCE_"

// Process is what the program gets from the operating system.
type Process struct {
	// Args are the arguments without the program's name.
	Args []string
	// Env looks up an environment variable, like os.LookupEnv.
	Env func(string) (string, bool)
	// Stdin is for answers to questions, and for the command of run.
	Stdin io.Reader
	// Stdout gets the results, and Stderr everything else.
	Stdout, Stderr io.Writer
	// StdinIsTerminal says that a person can be asked, and StderrIsTerminal that a person
	// sees what the program waits for.
	StdinIsTerminal, StderrIsTerminal bool
	// Signals that the process receives; nil means none.
	Signals <-chan os.Signal
	// Now is this machine's clock, which is not trusted; time.Now if nil.
	Now func() time.Time
}

// failure is an error with its exit code.
type failure struct {
	code int
	error
}

func (f failure) Unwrap() error { return f.error }

func usagef(format string, args ...any) error {
	return failure{ExitUsage, fmt.Errorf(format, args...)}
}

// errReported is an error that people have already been told about.
var errReported = errors.New("not everything went as asked")

// Main runs the program and returns its exit code.
func Main(ctx context.Context, p Process) int {
	if p.Now == nil {
		p.Now = time.Now
	}
	s := newSession(p)
	root := s.root() //nolint:contextcheck // cobra hands the context to each command
	root.SetArgs(p.Args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	ran, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	return s.report(ran, err)
}

// report tells people about an error, and returns its exit code. An errReported has the exit
// code of a command that was run, which can be any.
func (s *session) report(ran *cobra.Command, err error) int {
	code := ExitFailed
	var f failure
	if errors.As(err, &f) {
		code = f.code
	}
	if errors.Is(err, errReported) {
		return code
	}
	s.tellError("%s", explain(err))
	if code != ExitUsage {
		return code
	}
	fmt.Fprintf(s.Stderr, "See '%s --help'.\n", ran.CommandPath())
	if ran.Name() == runName {
		return ExitRunFailed
	}
	return ExitUsage
}

func (s *session) root() *cobra.Command {
	root := &cobra.Command{
		Use:         "kubectl-maintenance",
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl maintenance"},
		Short:       "Show a maintenance page in place of an app, and bring the app back",
		Long: `Shows a maintenance page in place of an app, and brings the app back.

It writes annotations that maintenance-controller acts on, with the rights of your kubeconfig. All of kubectl's flags for
clusters work here: --context, --namespace, --as, --server and the rest.

Exit codes: 0 done, 1 failed or not as asked, 2 wrong usage, 3 timed out. 'run' exits with the code of its command, or
with 125 if anything else failed.`,
		Example: `  kubectl maintenance on ingress/my-app --for 2h --reason 'moving the database'
  kubectl maintenance on --host my-app.example
  kubectl maintenance status ingress/my-app
  kubectl maintenance off ingress/my-app
  kubectl maintenance run ingress/my-app -- ./migrate.sh`,
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("%q is not a command", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return failure{ExitUsage, err} })
	s.globalFlags(root)
	root.AddCommand(s.onCommand(), s.offCommand(), s.statusCommand(), s.listCommand(), s.runCommand(), s.versionCommand())
	root.InitDefaultCompletionCmd(s.Args...)
	s.completePlugin(root)
	return root
}

// tellError prints an error.
func (s *session) tellError(format string, args ...any) {
	s.tell("maintenance: "+format, args...)
}

// tell prints anything that is not a result.
func (s *session) tell(format string, args ...any) {
	fmt.Fprintln(s.Stderr, escaped(fmt.Sprintf(format, args...)))
}

// escaped escapes what a terminal would act on, except line ends: messages quote what others
// wrote.
func escaped(text string) string {
	return printable.Escape(text, func(r rune) bool {
		return r != '\n' && (unicode.IsControl(r) || !unicode.IsPrint(r) && !unicode.IsSpace(r) || r == '\u2028' || r == '\u2029')
	})
}

// untilSignal returns a context that ends with the first signal.
func (s *session) untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case sig := <-s.Signals:
				if !forCommand(sig) {
					cancel(fmt.Errorf("interrupted (%s)", sig))
					return
				}
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// plural returns "1 target" or "2 targets".
func plural(n int, thing string) string {
	return fmt.Sprintf("%d %s%s", n, thing, strings.Repeat("s", cmp.Compare(max(n, 1), 1)))
}
