package process_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"maintenance-controller.io/e2e/process"
)

// parentEnv turns the test binary into a parent process that starts a child and waits to be
// killed.
const parentEnv = "PROCESS_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentEnv) != "" {
		parent()
	}
	os.Exit(m.Run())
}

func parent() {
	group, err := process.NewGroup(process.Options{})
	if err != nil {
		panic(err)
	}
	child, err := group.Start(process.Command{Name: "child", Path: "/bin/sleep", Args: []string{"600"}, LogFile: os.DevNull})
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString(strconv.Itoa(child.Pid()) + "\n")
	select {}
}

// TestChildrenDieWithTheirParent kills a parent, as the timeout of go test does.
func TestChildrenDieWithTheirParent(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), parentEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	err = process.Wait{For: "the child's end", Timeout: 10 * time.Second, Probe: func(context.Context) error {
		if alive(pid) {
			return errors.New("the child is still alive")
		}
		return nil
	}}.Until(t.Context())
	if err != nil {
		t.Error(err)
	}
}

// alive reports whether a process runs. A zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func TestWaitReportsTheLogOfAnEndedProcess(t *testing.T) {
	group := newGroup(t)
	p, err := group.Start(process.Command{
		Name: "program", Path: "/bin/sh", Args: []string{"-c", "echo no such flag >&2; exit 3"},
		LogFile: filepath.Join(t.TempDir(), "log"),
	})
	if err != nil {
		t.Fatal(err)
	}
	err = process.Wait{
		For: "something impossible", Timeout: time.Minute, Of: []*process.Process{p},
		Probe: func(context.Context) error { return errors.New("not yet") },
	}.Until(t.Context())
	for _, want := range []string{"something impossible", "program stopped (exit status 3)", "no such flag"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestWaitTimesOut(t *testing.T) {
	cause := errors.New("not yet")
	err := process.Wait{
		For: "something impossible", Timeout: 10 * time.Millisecond,
		Probe: func(context.Context) error { return cause },
	}.Until(t.Context())
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, cause) {
		t.Errorf("got %v, want the time limit and the last cause", err)
	}
}

func TestTerminateKillsUnresponsiveProcess(t *testing.T) {
	group := newGroup(t)
	log := filepath.Join(t.TempDir(), "log")
	p, err := group.Start(process.Command{
		Name: "unresponsive", Path: "/bin/sh", Args: []string{"-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"}, LogFile: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = process.Wait{For: "the trap", Timeout: 10 * time.Second, Of: []*process.Process{p}, Probe: func(context.Context) error {
		if !strings.Contains(p.Tail(), "ready") {
			return errors.New("not ready")
		}
		return nil
	}}.Until(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.Terminate(20 * time.Millisecond)
	if err := syscall.Kill(p.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("signal 0 to the ended process: got %v, want %v", err, syscall.ESRCH)
	}
}

func TestRunReportsTheExitStatus(t *testing.T) {
	group := newGroup(t)
	err := group.Run(t.Context(), process.Command{
		Name: "script", Path: "/bin/false", LogFile: filepath.Join(t.TempDir(), "log"),
	})
	if err == nil || !strings.Contains(err.Error(), "run script: exit status 1") {
		t.Errorf("got %v, want exit status 1", err)
	}
}

func newGroup(t *testing.T) *process.Group {
	t.Helper()
	group, err := process.NewGroup(process.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(group.Close)
	return group
}
