// Package stdlib is a stub, see ../../README.md.
package stdlib

import "reflect"

// Symbols are none.
var Symbols map[string]map[string]reflect.Value
