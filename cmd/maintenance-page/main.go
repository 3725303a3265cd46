// Maintenance-page runs in the Pods of a page set and answers every request with
// the page of the ConfigMap that is mounted there.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"maintenance-controller.io/pkg/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	options, err := parse(os.Args[1:], os.Getenv, os.Stderr)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return
	case err == nil && options.showVersion:
		fmt.Println("maintenance-page", version.String())
		return
	case err == nil:
		err = run(ctx, options, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "maintenance-page:", err)
		os.Exit(1)
	}
}
