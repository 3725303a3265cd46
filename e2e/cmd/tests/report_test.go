package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// progressLine is one that a slow machine's run may have anywhere: see progressInterval.
var progressLine = regexp.MustCompile(`(?m)^   … .*\n`)

// shown runs the program on the tests of a module, and returns its output without progress lines,
// and the durations it wrote.
func shown(t *testing.T, files map[string]string, args ...string) (out, times string, err error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	program := filepath.Join(t.TempDir(), "tests")
	built, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(built))
	noted := filepath.Join(dir, "times")
	// With -trimpath, go's cached results do not depend on the folder: without -count=1, a second
	// run would show those of the first.
	cmd := exec.CommandContext(t.Context(), program, append([]string{"--times", noted}, append(args, "-count=1")...)...)
	cmd.Dir = dir
	text, err := cmd.CombinedOutput()
	note, readErr := os.ReadFile(noted)
	require.NoError(t, readErr)
	return progressLine.ReplaceAllString(string(text), ""), string(note), err
}

const (
	module = "module example.org/m\n"
	header = "package m\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\n"
)

func TestPassingPackageIsOneLine(t *testing.T) {
	t.Parallel()
	out, times, err := shown(t, map[string]string{"go.mod": module, "m_test.go": header + `
func TestMain(m *testing.M) { println("outside of the tests"); os.Exit(m.Run()) }
func TestOne(t *testing.T) { t.Log("of no interest"); t.Run("part", func(t *testing.T) { t.Parallel() }) }
func TestTwo(t *testing.T) { t.Parallel() }
`}, "./...")
	require.NoError(t, err, out)
	assert.Regexp(t, `^ok  \texample.org/m\t[0-9.]+s\n$`, out)
	assert.Regexp(t, `(?s)^\d+\.\d Test(One|Two) example.org/m\n\d+\.\d Test(One|Two) example.org/m\n$`, times)
}

func TestFailingTestIsShownInFull(t *testing.T) {
	t.Parallel()
	out, times, err := shown(t, map[string]string{"go.mod": module, "m_test.go": header + `
var _ = os.Args
func TestGood(t *testing.T) { t.Log("of no interest") }
func TestBad(t *testing.T) {
	t.Log("on the whole")
	t.Run("fine", func(t *testing.T) { t.Log("in the fine part") })
	t.Run("faulty", func(t *testing.T) { t.Error("in the faulty part") })
}
`}, "-race=false", "./...")
	require.Error(t, err)
	for _, want := range []string{"on the whole", "in the fine part", "in the faulty part", "--- FAIL: TestBad/faulty", "FAIL\texample.org/m"} {
		assert.Contains(t, out, want)
	}
	assert.NotContains(t, out, "of no interest")
	assert.Regexp(t, `(?s)^\d+\.\d TestGood example.org/m\n\d+\.\d TestBad example.org/m failed\n$`, times)
}

func TestUnfinishedTestIsNamed(t *testing.T) {
	t.Parallel()
	out, times, err := shown(t, map[string]string{"go.mod": module, "m_test.go": header + `
var _ = os.Args
func TestHangs(t *testing.T) { <-t.Context().Done() }
func TestAfterIt(t *testing.T) {}
`}, "-timeout=1s", "./...")
	require.Error(t, err)
	assert.Contains(t, out, "panic: test timed out after 1s")
	assert.Regexp(t, `^\d+\.\d TestHangs example.org/m (failed|unfinished)\n$`, times)
}

func TestPanicAndBuildFailureAreShown(t *testing.T) {
	t.Parallel()
	out, _, err := shown(t, map[string]string{"go.mod": module, "m_test.go": header + `
func TestPanics(t *testing.T) { t.Log("before it"); os.Stdout.WriteString("right before it\n"); panic("all over") }
`}, "./...")
	require.Error(t, err)
	assert.Contains(t, out, "right before it")
	assert.Contains(t, out, "panic: all over")

	out, _, err = shown(t, map[string]string{"go.mod": module, "m_test.go": header + "func TestNone(t *testing.T) { none() }\n"}, "./...")
	require.Error(t, err)
	assert.Contains(t, out, "undefined: none")
	assert.Contains(t, out, "FAIL\texample.org/m [build failed]")
}

// TestProgressLine checks that the line has the tests left and those that run, without those that
// wait for their turn.
func TestProgressLine(t *testing.T) {
	t.Parallel()
	var out, times bytes.Buffer
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := newReport(&out, &times, map[string]int{"m": 4})
	for second, e := range []event{
		{Action: "run", Test: "TestOne"},
		{Action: "run", Test: "TestOne/part"},
		{Action: "pass", Test: "TestOne/part"},
		{Action: "pass", Test: "TestOne"},
		{Action: "run", Test: "TestTwo"},
		{Action: "pause", Test: "TestTwo"},
		{Action: "run", Test: "TestThree"},
		{Action: "pause", Test: "TestThree"},
		{Action: "cont", Test: "TestThree"},
	} {
		e.Package, e.Time = "m", begin.Add(time.Duration(second)*time.Second)
		r.take(e)
	}
	r.progress(begin.Add(30 * time.Second))
	assert.Equal(t, "   … 3 of 4 tests left: TestThree 23s\n", out.String())
	r.take(event{Package: "m", Action: "pass", Test: "TestThree", Time: begin.Add(40 * time.Second)})
	r.take(event{Package: "m", Action: "output", Output: "ok  \tm\t32s\n"})
	r.take(event{Package: "m", Action: "pass"})
	assert.Equal(t, "3.0 TestOne m\n33.0 TestThree m\n", times.String())
	out.Reset()
	r.progress(begin.Add(50 * time.Second))
	assert.Equal(t, "   … 0 of 4 tests left: compiling\n", out.String())

	times.Reset()
	r.take(event{Package: "m", Action: "run", Test: "TestOne", Time: begin})
	r.take(event{Package: "m", Action: "pass", Test: "TestOne", Time: begin})
	r.take(event{Package: "m", Action: "output", Output: "ok  \tm\t(cached)\n"})
	r.take(event{Package: "m", Action: "pass"})
	assert.Empty(t, times.String(), "cached results have no durations")
}

// TestWaitingTestTakesNoTime checks that the time in which all subtests wait for their turn does not
// count.
func TestWaitingTestTakesNoTime(t *testing.T) {
	t.Parallel()
	var out, times bytes.Buffer
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := newReport(&out, &times, map[string]int{"m": 1})
	for _, e := range []struct {
		second       int
		action, test string
	}{
		{0, "run", "TestOne"},
		{1, "run", "TestOne/a"},
		{1, "pause", "TestOne/a"},
		{1, "run", "TestOne/b"},
		{1, "pause", "TestOne/b"},
		{101, "cont", "TestOne/a"},
		{103, "pass", "TestOne/a"},
		{203, "cont", "TestOne/b"},
		{204, "pass", "TestOne/b"},
		{204, "pass", "TestOne"},
	} {
		r.take(event{Package: "m", Action: e.action, Test: e.test, Time: begin.Add(time.Duration(e.second) * time.Second)})
	}
	r.take(event{Package: "m", Action: "pass"})
	assert.Equal(t, "4.0 TestOne m\n", times.String())
}

func TestOnlySelectsSerialOrParallel(t *testing.T) {
	t.Parallel()
	files := map[string]string{"go.mod": module, "m_test.go": header + `
func TestMain(m *testing.M) { os.Exit(m.Run()) }
func TestSerial(t *testing.T) { t.Run("part", func(t *testing.T) { t.Parallel() }) }
func TestParallel(t *testing.T) { t.Log("first"); t.Parallel() }
func TestParallelNot(t *testing.T) { t.Fatal("run alone") }
// TestMarked measures something.
//
//tests:before-parallel
func TestMarked(t *testing.T) {}
`}
	out, times, err := shown(t, files, "--only", "parallel", "./...")
	require.NoError(t, err, out)
	assert.Contains(t, times, "TestParallel ")
	assert.Contains(t, times, "TestMarked ")
	assert.NotContains(t, times, "Serial")
	out, times, err = shown(t, files, "--only", "serial", "./...")
	require.Error(t, err)
	assert.Contains(t, out, "run alone")
	assert.Contains(t, times, "TestSerial ")
	assert.NotContains(t, times, "TestParallel ")
	assert.NotContains(t, times, "TestMarked ")
	out, _, err = shown(t, files, "--only", "some", "./...")
	require.Error(t, err)
	assert.Contains(t, out, "serial or parallel")
}
