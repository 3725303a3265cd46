package pageserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestStartsQuickly compares with what it takes on this machine to run the program at all, to print
// its version: the processor's time, in which other programs do not count, and the time that passes.
func TestStartsQuickly(t *testing.T) {
	var took, floor, worked, workedFloor []time.Duration
	for range 9 {
		version := exec.Command(built.binary, "--version")
		begin := time.Now()
		if err := version.Run(); err != nil {
			t.Fatal(err)
		}
		floor = append(floor, time.Since(begin))
		workedFloor = append(workedFloor, version.ProcessState.UserTime()+version.ProcessState.SystemTime())
		s := start(t)
		took = append(took, s.started)
		worked = append(worked, s.worked(t))
	}
	for _, all := range [][]time.Duration{took, floor, worked, workedFloor} {
		slices.Sort(all)
	}
	t.Logf("from exec to the first answer: %v; to print the version: %v", took, floor)
	t.Logf("time of the processor: %v; to print the version: %v", worked, workedFloor)
	// The shortest: other programs on this machine may slow down single starts.
	if more := worked[0] - workedFloor[0]; more > 30*time.Millisecond {
		t.Errorf("the fastest start took %v of the processor's time, %v more than to print the version, want at most 30 ms", worked[0], more)
	}
	if took[0] > 3*floor[0] || worked[0] > 3*workedFloor[0] {
		t.Errorf("the fastest start took %v and %v of the processor's time, want at most three times %v and %v, which it takes to print the version",
			took[0], worked[0], floor[0], workedFloor[0])
	}
}

// worked returns the processor's time that the server has used.
func (s *server) worked(t *testing.T) (sum time.Duration) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", s.process.Process.Pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("no threads of the server: %v", err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			t.Fatal(err)
		}
		var worked time.Duration
		if _, err := fmt.Sscan(string(text), &worked); err != nil {
			t.Fatalf("%s: %q: %v", thread, text, err)
		}
		sum += worked
	}
	return sum
}

func TestWrongPageSetIsRefused(t *testing.T) {
	out, err := exec.Command(built.binary, "--page-dir="+built.pageDir, "--page-set=maintenance-0123456789abcdef").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not to --page-set") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestVersion(t *testing.T) {
	out, err := exec.Command(built.binary, "--version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "maintenance-page ") {
		t.Errorf("%v: %s", err, out)
	}
}
