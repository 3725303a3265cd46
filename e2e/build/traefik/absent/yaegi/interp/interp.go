// Package interp is a stub, see ../../README.md.
package interp

import (
	"errors"
	"io"
	"reflect"
)

// Options are those of an interpreter.
type Options struct {
	GoPath         string
	Env            []string
	Stdout, Stderr io.Writer
}

// Interpreter interprets nothing.
type Interpreter struct{}

// New makes one.
func New(Options) *Interpreter { return &Interpreter{} }

// Use fails: whoever configures a plugin learns it here.
func (*Interpreter) Use(map[string]map[string]reflect.Value) error {
	return errors.New("this Traefik is built without plugins, see e2e/build/traefik/absent")
}

// Eval fails.
func (*Interpreter) Eval(string) (reflect.Value, error) {
	return reflect.Value{}, errors.ErrUnsupported
}
