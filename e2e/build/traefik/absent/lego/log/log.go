// Package log is a stub, see ../../README.md.
package log

// Logger is set by Traefik and used by nothing.
var Logger StdLogger

// StdLogger is what a logger can do.
type StdLogger interface {
	Fatal(args ...any)
	Fatalln(args ...any)
	Fatalf(format string, args ...any)
	Print(args ...any)
	Println(args ...any)
	Printf(format string, args ...any)
}
