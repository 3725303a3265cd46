package pageserver

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestStartsQuickly compares with the time in which this machine runs the program at all, to print
// its version.
func TestStartsQuickly(t *testing.T) {
	var took, floor []time.Duration
	for range 9 {
		begin := time.Now()
		if err := exec.Command(built.binary, "--version").Run(); err != nil {
			t.Fatal(err)
		}
		floor = append(floor, time.Since(begin))
		took = append(took, start(t).started)
	}
	slices.Sort(took)
	slices.Sort(floor)
	t.Logf("from exec to the first answer: %v; to print the version: %v", took, floor)
	// The shortest: other programs on this machine may slow down single starts.
	if more := took[0] - floor[0]; more > 30*time.Millisecond {
		t.Errorf("the fastest start took %v, %v more than to print the version, want at most 30 ms", took[0], more)
	}
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
