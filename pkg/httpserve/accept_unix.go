//go:build unix

package httpserve

import (
	"errors"
	"syscall"
)

// isTemporary knows the errors of accept(2) after which the next one may succeed:
// out of descriptors or memory for now, or a client that left the queue.
func isTemporary(err error) bool {
	for _, known := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
