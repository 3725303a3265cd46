// Export writes the built-in page's files into a folder, to start a page of
// one's own from, and prints the name that its page set has:
//
//	go run ./pages/export my-page
//
// With a time in RFC 3339 after it, it writes what a page set has whose maintenance ends
// then, to look at: the controller alone makes such pages.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/page"
)

func main() {
	p := pages.Default()
	switch len(os.Args) {
	case 2:
	case 3:
		until, err := time.Parse(time.RFC3339, os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, "export:", err)
			os.Exit(2)
		}
		p = pages.Until(until)
	default:
		fmt.Fprintln(os.Stderr, "usage: export FOLDER [UNTIL]")
		os.Exit(2)
	}
	if err := export(os.Args[1], p); err != nil {
		fmt.Fprintln(os.Stderr, "export:", err)
		os.Exit(1)
	}
	fmt.Println(page.SetName(p.Hash()))
}

func export(folder string, p page.Page) error {
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // a page is public
		return err
	}
	for key, value := range p.Data() {
		if err := os.WriteFile(filepath.Join(folder, key), []byte(value), 0o644); err != nil { //nolint:gosec // a page is public
			return err
		}
	}
	return nil
}
