package binaries

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestLeft(t *testing.T) {
	waits := func(cost time.Duration) row { return row{cost: cost} }
	done := func(cost time.Duration) row { return row{cost: cost, stage: built} }
	for name, test := range map[string]struct {
		rows    []row
		elapsed time.Duration
		cores   int
		want    time.Duration
	}{
		"before anything, the costs on two cores":            {[]row{waits(100 * time.Second), waits(200 * time.Second)}, 0, 2, 300 * time.Second},
		"half of it on four":                                 {[]row{waits(100 * time.Second), waits(200 * time.Second)}, 0, 4, 150 * time.Second},
		"no less on many more: few packages wait for others": {[]row{waits(300 * time.Second)}, 0, 64, 150 * time.Second},
		"twice on one":                                       {[]row{waits(300 * time.Second)}, 0, 1, 600 * time.Second},
		"a machine that takes three times as long":           {[]row{done(100 * time.Second), waits(200 * time.Second)}, 300 * time.Second, 2, 600 * time.Second},
		"half of a part": {
			[]row{{cost: 200 * time.Second, stage: building, compiled: 50, total: 100}}, 100 * time.Second, 2, 100 * time.Second,
		},
		"what links is not done": {
			[]row{{cost: 100 * time.Second, stage: building, compiled: 100, total: 100}}, 95 * time.Second, 2, 5 * time.Second,
		},
		"nothing is left": {[]row{done(100 * time.Second)}, 70 * time.Second, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := left(test.rows, test.elapsed, test.cores); got.Round(time.Second) != test.want {
				t.Errorf("%s left, want %s", got, test.want)
			}
		})
	}
}

func TestTable(t *testing.T) {
	begin := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	rows := []row{
		{name: "kubernetes v1.35.4", cost: 300 * time.Second, stage: built, took: 310 * time.Second},
		{name: "traefik v3.6.12", cost: 100 * time.Second, stage: building, begun: begin.Add(310 * time.Second), compiled: 30, total: 300},
		{name: "helm v3.22.0", cost: 50 * time.Second, fetched: 12, total: 700},
		{name: "coredns v1.14.3", cost: 30 * time.Second, fetched: 7},
		{name: "etcd v3.6.5", cost: 20 * time.Second},
	}
	got := strings.Join(table(rows, 320*time.Second, 2, begin.Add(320*time.Second)), "\n")
	want := `  kubernetes v1.35.4  done in 5m10s
  traefik v3.6.12     30 of 300 packages compiled, 10s
  helm v3.22.0        waits, 12 modules downloaded
  coredns v1.14.3     downloads modules, 7 so far
  etcd v3.6.5         waits
  62% of all after 5m20s, about 3 min left`
	if got != want {
		t.Errorf("the table is\n%s\nwant\n%s", got, want)
	}
	if got, want := rest(rows), ": traefik v3.6.12, helm v3.22.0, coredns v1.14.3, etcd v3.6.5"; got != want {
		t.Errorf("left is %q, want %q", got, want)
	}
}

func TestCoarse(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 3 * time.Second: "10 s", 90 * time.Second: "90 s", 91 * time.Second: "2 min", 10*time.Minute + 29*time.Second: "10 min",
	} {
		if got := coarse(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}

// On a terminal, lines that stay come above the table, which is drawn anew and cut to
// the terminal's width. A log has no table.
func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := &screen{w: &out, width: 10}
	s.draw([]string{"one", "two, longer than the terminal"})
	s.line("stays")
	s.draw([]string{"three"})
	s.keep()
	s.line("end")
	table := "one\ntwo, long\n"
	if got, want := out.String(), table+"\x1b[2A\x1b[Jstays\n"+table+"\x1b[2A\x1b[Jthree\nend\n"; got != want {
		t.Errorf("the terminal got\n%q, want\n%q", got, want)
	}

	out.Reset()
	log := newScreen(&out)
	log.draw([]string{"one"})
	log.log("built %s", "etcd")
	log.keep()
	if got, want := out.String(), "built etcd\n"; got != want {
		t.Errorf("the log got %q, want %q", got, want)
	}
}

// Lines of `go build -v` and of `go list` are progress, others are kept for the error.
func TestLastWords(t *testing.T) {
	b := newBoard(newScreen(&bytes.Buffer{}), []part{{name: "a part"}}, 2)
	words := lastWords(strings.NewReader(`go: downloading k8s.io/api v0.35.4
k8s.io/api/core/v1
vendor/golang.org/x/net/idna
# example.com/broken
broken.go:3:1: undefined: x
`), func(line string) { b.saw(0, line) })
	if want := "# example.com/broken\nbroken.go:3:1: undefined: x"; words != want {
		t.Errorf("the last words are %q, want %q", words, want)
	}
	if r := b.rows[0]; r.fetched != 1 || r.compiled != 2 {
		t.Errorf("%d modules and %d packages were counted, want 1 and 2", r.fetched, r.compiled)
	}
}
