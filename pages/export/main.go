// Export writes the files of the built-in page into a folder, as a start for a page of your
// own, and prints the name that its page set has:
//
//	go run ./pages/export my-page
//
// With a time in RFC 3339 as a second argument it writes the page of maintenance that ends
// then. That is only for a preview: the controller does not accept such a page from people.
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
		fmt.Fprintln(os.Stderr, "Usage: go run ./pages/export FOLDER [UNTIL]")
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
