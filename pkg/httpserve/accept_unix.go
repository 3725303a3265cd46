//go:build unix

package httpserve

import (
	"errors"
	"syscall"
)

// isTemporary recognises the errors of accept(2) after which another call may succeed: there
// are no descriptors or memory for the moment, or a client left the queue.
func isTemporary(err error) bool {
	for _, known := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}
