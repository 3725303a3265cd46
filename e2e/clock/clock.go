// Package clock sets the wall clock of one running program, as an administrator or a
// time server sets that of a machine: CLOCK_REALTIME jumps, CLOCK_MONOTONIC does not. No
// other program is affected.
//
// A program reads both through the vDSO, a page of code that the kernel maps into
// each process (see vdso(7)). Its clock_gettime is replaced, in the memory of that
// process, by one that asks the kernel and adds an offset.
package clock

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// gettime is the code of clock_gettime(2): edi is the clock, rsi points at the result. The
// eight bytes after the code are the seconds to add.
var gettime = []byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, // mov    eax, 228
	0x0f, 0x05, //                   syscall
	0x85, 0xff, //                   test   edi, edi       ; CLOCK_REALTIME is 0
	0x75, 0x0a, //                   jne    done
	0x48, 0x8b, 0x0d, 0x06, 0x00, 0x00, 0x00, // mov rcx, [rip+6]
	0x48, 0x01, 0x0e, //             add    [rsi], rcx
	0xc3,       //                   done: ret
	0x90, 0x90, //                   so that the seconds are aligned
}

// Set shifts the wall clock of a child process by an offset, in whole seconds, from now
// on. It can be set any number of times. Linux on amd64 only.
func Set(pid int, off time.Duration) (err error) {
	if runtime.GOARCH != "amd64" {
		return errors.New("the clock of a process can be set on amd64 only")
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("set the clock of process %d: %w", pid, err)
		}
	}()
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, memory.Close()) }()
	at, size, err := find(pid, memory)
	if err != nil {
		return err
	}
	code := binary.LittleEndian.AppendUint64(bytes.Clone(gettime), uint64(int64(off/time.Second)))
	if size < len(code) {
		return fmt.Errorf("its clock_gettime has %d bytes, and %d are needed", size, len(code))
	}
	resume, err := stop(pid, at, at+uint64(size))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resume()) }()
	_, err = memory.WriteAt(code, int64(at))
	return err
}

// find returns the address and the size of the process's clock_gettime.
func find(pid int, memory *os.File) (at uint64, size int, err error) {
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, maps.Close()) }()
	for lines := bufio.NewScanner(maps); lines.Scan(); {
		if !strings.HasSuffix(lines.Text(), "[vdso]") {
			continue
		}
		var begin, end uint64
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x", &begin, &end); err != nil {
			return 0, 0, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		image := make([]byte, end-begin)
		if _, err := memory.ReadAt(image, int64(begin)); err != nil {
			return 0, 0, err
		}
		return symbol(image, begin)
	}
	return 0, 0, errors.New("it has no vDSO")
}

func symbol(image []byte, base uint64) (at uint64, size int, err error) {
	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, 0, fmt.Errorf("read its vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return 0, 0, fmt.Errorf("read its vDSO: %w", err)
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			return base + s.Value, int(s.Size), nil
		}
	}
	return 0, 0, errors.New("its vDSO has no clock_gettime")
}

// stop halts all threads of the process at a moment when none of them executes this code.
func stop(pid int, begin, end uint64) (resume func() error, err error) {
	resume = func() error { return syscall.Kill(pid, syscall.SIGCONT) }
	const attempts = 1000
	for range attempts {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return nil, err
		}
		halted, outside := threads(pid, begin, end)
		if halted && outside {
			return resume, nil
		}
		if err := resume(); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("it does not halt outside of clock_gettime")
}

// threads says whether all threads have halted, and whether all of them are outside of this code.
func threads(pid int, begin, end uint64) (halted, outside bool) {
	for {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
		if err != nil || len(tasks) == 0 {
			return false, false
		}
		running := false
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			if err != nil {
				return false, false
			}
			fields := strings.Fields(string(text))
			if fields[0] == "running" { // not halted yet
				running = true
				continue
			}
			pc, err := strconv.ParseUint(fields[len(fields)-1], 0, 64)
			if err != nil || begin <= pc && pc < end {
				return true, false
			}
		}
		if !running {
			return true, true
		}
		runtime.Gosched()
	}
}
