// Command image writes a container image of static programs without a container engine.
// Unlike the local cluster's command it runs on any system.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"maintenance-controller.io/e2e/image"
)

const usage = `usage: image --out FILE --name NAME[:TAG] [--arch ARCH] [--label NAME=VALUE]... PROGRAM...

Writes an archive that docker load, ctr images import and kind load image-archive
read, and prints the image's reference. The image runs the first program. Without TAG,
the tag is a hash of the programs. ARCH is the programs' architecture, by default this
machine's.
`

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	s := image.Spec{Labels: map[string]string{}}
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	out := flags.String("out", "", "")
	flags.StringVar(&s.Reference, "name", "", "")
	flags.StringVar(&s.Arch, "arch", "", "")
	flags.Func("label", "", func(pair string) error {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=VALUE", pair)
		}
		s.Labels[name] = value
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	s.Programs = flags.Args()
	if *out == "" || s.Reference == "" || len(s.Programs) == 0 {
		return errors.New("--out, --name and at least one program are needed")
	}
	s.Entrypoint = filepath.Base(s.Programs[0])
	if !strings.Contains(s.Reference, ":") {
		tag, err := image.Tag(s.Programs...)
		if err != nil {
			return err
		}
		s.Reference += ":" + tag
	}
	if err := image.Write(*out, s); err != nil {
		return err
	}
	_, err := fmt.Fprintln(stdout, s.Reference)
	return err
}
