// Export writes the built-in page's files into a folder, to start a page of
// one's own from, and prints the name that its page set has:
//
//	go run ./pages/export my-page
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/page"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: export FOLDER")
		os.Exit(2)
	}
	if err := export(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "export:", err)
		os.Exit(1)
	}
	fmt.Println(page.SetName(pages.Default().Hash()))
}

func export(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // a page is public
		return err
	}
	for key, value := range pages.Default().Data() {
		if err := os.WriteFile(filepath.Join(folder, key), []byte(value), 0o644); err != nil { //nolint:gosec // a page is public
			return err
		}
	}
	return nil
}
