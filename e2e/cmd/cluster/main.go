// Command cluster runs the local cluster of this source tree. It is what the
// Makefile calls.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"maintenance-controller.io/e2e/local"
)

const usage = `usage: cluster COMMAND [FLAGS] [ARGUMENTS]

  up [--nodes N]              start the cluster, if it is not up
  down                        stop it, and remove everything that it put on the machine
  load FILE...                give the nodes the images of archives
  install --image REF [FILE]  install the chart with this image, and values

Every command takes --dir, the cluster's folder (default: .cluster).
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// options are the flags of all commands.
type options struct {
	dir, image string
	nodes      int
	args       []string
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	if len(args) == 0 {
		_, _ = fmt.Fprint(stderr, usage)
		return errors.New("no command given")
	}
	o, err := parse(args[1:], stderr)
	if err != nil {
		return err
	}
	c := local.Cluster{Dir: o.dir, Log: stderr}
	switch args[0] {
	case "up":
		return c.Up(ctx, o.nodes)
	case "down":
		return c.Down(ctx)
	case "load":
		return load(ctx, c, o.args)
	case "install":
		if o.image == "" {
			return errors.New("install needs --image")
		}
		return c.Install(ctx, o.image, "", o.args...)
	case local.KeeperCommand:
		return local.Keep(ctx, o.dir, o.nodes)
	default:
		return fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { _, _ = fmt.Fprint(stderr, usage) }
	flags.StringVar(&o.dir, "dir", ".cluster", "")
	flags.StringVar(&o.image, "image", "", "")
	flags.IntVar(&o.nodes, "nodes", 1, "")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.args = flags.Args()
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return o, fmt.Errorf("find %s: %w", o.dir, err)
	}
	o.dir = dir
	return o, nil
}

func load(ctx context.Context, c local.Cluster, archives []string) error {
	state, err := c.State()
	if err != nil {
		return err
	}
	for _, archive := range archives {
		if err := state.LoadImage(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}
