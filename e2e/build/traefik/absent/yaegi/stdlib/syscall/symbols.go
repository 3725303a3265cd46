// Package syscall is a stub, see ../../../README.md.
package syscall

import "reflect"

// Symbols are none.
var Symbols map[string]map[string]reflect.Value
