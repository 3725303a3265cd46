//go:build unix

package httpserve

import (
	"errors"
	"syscall"
)

const (
	hasDescriptors = true
	errWouldBlock  = syscall.EAGAIN
)

// readDescriptor reads once from a non-blocking descriptor; 0 bytes are the end.
func readDescriptor(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), b)
		if !errors.Is(err, syscall.EINTR) {
			return max(n, 0), err
		}
	}
}

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
