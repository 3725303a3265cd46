//go:build !unix

package httpserve

import "errors"

const hasDescriptors = false

var errWouldBlock = errors.New("would block")

func readDescriptor(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func writeDescriptor(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func isTemporary(error) bool { return false }
