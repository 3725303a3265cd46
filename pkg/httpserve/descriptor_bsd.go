//go:build unix && !linux

package httpserve

import (
	"errors"
	"syscall"
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

// writeDescriptor writes once to a non-blocking descriptor.
func writeDescriptor(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), b)
		if !errors.Is(err, syscall.EINTR) {
			return max(n, 0), err
		}
	}
}
