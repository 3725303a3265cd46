package httpserve

import (
	"syscall"
	"unsafe"
)

// The descriptors are non-blocking, so these system calls need not tell the
// scheduler that they might take long: it would move other connections' work to
// more threads, and there is one read and one write to nearly every request.

// readDescriptor reads once from a non-blocking descriptor; 0 bytes are the end.
func readDescriptor(fd uintptr, b []byte) (int, error) { return once(syscall.SYS_READ, fd, b) }

// writeDescriptor writes once to a non-blocking descriptor.
func writeDescriptor(fd uintptr, b []byte) (int, error) { return once(syscall.SYS_WRITE, fd, b) }

func once(call, fd uintptr, b []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))) //nolint:gosec // b is alive until the call returns
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}
