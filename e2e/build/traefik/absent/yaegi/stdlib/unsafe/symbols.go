// Package unsafe is a stub, see ../../../README.md.
package unsafe

import "reflect"

// Symbols are none.
var Symbols map[string]map[string]reflect.Value
