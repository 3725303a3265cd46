// Package cli is kubectl-maintenance: it asks and writes annotations and Leases with the
// rights of the person who runs it, and leaves the rest to the controller.
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

// Exit codes, for scripts. The command run gives its command's code, and OwnFailure for
// whatever else goes wrong.
const (
	Done       = 0
	Failed     = 1 // or not as asked
	Usage      = 2
	TimedOut   = 3
	OwnFailure = 125
)

// Manager is the field manager of what the plugin writes: Flux undoes what is written
// by a manager whose name starts with kubectl.
const Manager = "maintenance-cli"

// envPrefix begins the environment variables of flags.
const envPrefix = "MAINTENANCE_"

// Process is what the program gets from the operating system.
type Process struct {
	Args           []string // without the program's name
	Env            func(string) (string, bool)
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Asks says that a person can be asked over Stdin, and Shows that one looks at Stderr.
	Asks, Shows bool
	// Signals that the process has got; nil is none.
	Signals <-chan os.Signal
	// Now is the clock of this machine, which is not trusted; nil is the real one.
	Now func() time.Time
}

// failure is an error with the exit code that it makes.
type failure struct {
	code int
	error
}

func (f failure) Unwrap() error { return f.error }

func usagef(format string, args ...any) error {
	return failure{Usage, fmt.Errorf(format, args...)}
}

// errReported is for what people have been told of already.
var errReported = errors.New("not everything went as asked")

// Main runs the program and gives its exit code.
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
		return Done
	}
	return s.report(ran, err)
}

// report tells people of an error, and gives its exit code. What is reported already has
// the code of a command that was run, whatever that is.
func (s *session) report(ran *cobra.Command, err error) int {
	code := Failed
	var f failure
	if errors.As(err, &f) {
		code = f.code
	}
	if errors.Is(err, errReported) {
		return code
	}
	s.complain("%s", explain(err))
	if code != Usage {
		return code
	}
	fmt.Fprintf(s.Stderr, "See '%s --help'.\n", ran.CommandPath())
	if ran.Name() == runName {
		return OwnFailure
	}
	return Usage
}

func (s *session) root() *cobra.Command {
	root := &cobra.Command{
		Use:         "kubectl-maintenance",
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl maintenance"},
		Short:       "Show a maintenance page in place of an app, and the app again",
		Long: `Shows a maintenance page in place of an app, and the app again.

It writes annotations that maintenance-controller acts on, with the rights of your kubeconfig. Whatever kubectl takes to
find a cluster is taken here as well: --context, --namespace, --as, --server and the rest.

Exit codes: 0 done, 1 failed or not as asked, 2 wrong usage, 3 timed out; 'run' gives its command's, and 125 for what is not its command's.`,
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
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return failure{Usage, err} })
	s.globalFlags(root)
	root.AddCommand(s.onCommand(), s.offCommand(), s.statusCommand(), s.listCommand(), s.runCommand(), s.versionCommand())
	root.InitDefaultCompletionCmd(s.Args...)
	s.completePlugin(root)
	return root
}

// complain tells what is wrong, in one line or a few.
func (s *session) complain(format string, args ...any) {
	s.tell("maintenance: "+format, args...)
}

// tell says something beside the results.
func (s *session) tell(format string, args ...any) {
	fmt.Fprintln(s.Stderr, harmless(fmt.Sprintf(format, args...)))
}

// harmless writes out what a terminal would act on: messages quote what others wrote. The
// ends of lines stay.
func harmless(text string) string {
	return printable.Escape(text, func(r rune) bool {
		return r != '\n' && (unicode.IsControl(r) || !unicode.IsPrint(r) && !unicode.IsSpace(r) || r == '\u2028' || r == '\u2029')
	})
}

// interrupted gives a context that ends with the first signal.
func (s *session) interrupted(ctx context.Context) (context.Context, context.CancelFunc) {
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

// plural of a thing: 1 target, 2 targets.
func plural(n int, thing string) string {
	return fmt.Sprintf("%d %s%s", n, thing, strings.Repeat("s", cmp.Compare(max(n, 1), 1)))
}
