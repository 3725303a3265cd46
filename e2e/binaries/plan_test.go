package binaries

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func planned(t *testing.T, programs []Program) (names []string) {
	t.Helper()
	t.Setenv(CacheEnv, t.TempDir())
	cache, err := NewCache(nil)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := cache.plan(programs)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		name, _, _ := strings.Cut(p.name, " ")
		names = append(names, name)
		if p.cost == 0 {
			t.Errorf("%s has no cost", p.name)
		}
	}
	return names
}

// All programs of Kubernetes are one build, and the longest build comes first.
func TestPlan(t *testing.T) {
	got := planned(t, Local())
	if want := []string{"kubernetes", "traefik", "helm", "coredns", "etcd"}; !slices.Equal(got, want) {
		t.Errorf("the local cluster is built in the order %q, want %q", got, want)
	}
	// The order in which programs are named does not count.
	programs := Local()
	slices.Reverse(programs)
	if again := planned(t, programs); !slices.Equal(again, got) {
		t.Errorf("the order is %q, and in reverse %q", got, again)
	}
	all := planned(t, append(Everything(), ReleaseTools()...))
	if slices.Sort(all); len(slices.Compact(all)) != 10 {
		t.Errorf("all programs are built in %q, want each module once", all)
	}
}

// The demo builds nothing that it does not show.
func TestLocalHasNoTestTools(t *testing.T) {
	for _, p := range Local() {
		switch p.Name {
		case "helm-unittest", "kubeconform", "promtool", "haproxy-ingress", "goreleaser":
			t.Errorf("a local cluster needs no %s", p.Name)
		}
	}
}

// What an earlier part compiles is not counted again.
func TestKnownPackagesCountOnce(t *testing.T) {
	own := part{name: "own", compiles: []compile{{dir: ".", packages: []string{"strings"}}}}
	b := newBoard(newScreen(&bytes.Buffer{}), []part{own, own}, 2)
	known := map[string]bool{}
	for i := range b.rows {
		b.fetch(t.Context(), i, own, known)
	}
	if b.rows[0].total == 0 || b.rows[1].total != 0 {
		t.Errorf("%d and %d packages are to compile, want some and none", b.rows[0].total, b.rows[1].total)
	}
}

// Two parts are built at a time where there are cores for it, and one otherwise.
func TestSideBySide(t *testing.T) {
	for cores, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 64: 2} {
		synctest.Test(t, func(t *testing.T) {
			var now, most atomic.Int32
			build := func(context.Context, func(string)) error {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(time.Minute)
				now.Add(-1)
				return nil
			}
			parts := []part{{name: "a", build: build}, {name: "b", build: build}, {name: "c", build: build}}
			b := newBoard(newScreen(&bytes.Buffer{}), parts, cores)
			if err := makeParts(t.Context(), parts, b); err != nil {
				t.Fatal(err)
			}
			if int(most.Load()) != want {
				t.Errorf("on %d cores, %d parts were built at a time, want %d", cores, most.Load(), want)
			}
			if got := b.times(); len(got) != len(parts) || got[0].Took != time.Minute {
				t.Errorf("the times are %v, want a minute for each of %d parts", got, len(parts))
			}
		})
	}
}

// A build that fails ends the order, and its error names the part.
func TestAFailedPart(t *testing.T) {
	broken := errors.New("does not compile")
	ran := false
	parts := []part{
		{name: "a", build: func(context.Context, func(string)) error { return broken }},
		{name: "b", build: func(context.Context, func(string)) error { ran = true; return nil }},
	}
	err := makeParts(t.Context(), parts, newBoard(newScreen(&bytes.Buffer{}), parts, 2))
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "build a") {
		t.Errorf("the error is %v, want one of part a", err)
	}
	if ran {
		t.Error("the next part was built all the same")
	}
}
