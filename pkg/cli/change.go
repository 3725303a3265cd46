package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// maxConflicts bounds how often a change is tried again because somebody else wrote.
const maxConflicts = 30

// change writes what decide makes of a target's annotations, on the target as it was read:
// after a conflict both are done again. It says whether there was anything to write.
func (s *session) change(ctx context.Context, f *found, dryRun []string, decide func(written) changes) (bool, error) {
	for range maxConflicts {
		c := decide(s.written(*f))
		if len(c) == 0 {
			return false, nil
		}
		err := s.patch(ctx, f, dryRun, c)
		if !apierrors.IsConflict(err) {
			return err == nil, err
		}
		again, err := s.get(ctx, f.ref())
		switch {
		case err != nil:
			return false, err
		case again.object.GetUID() != f.object.GetUID():
			return false, fmt.Errorf("%s was deleted, and made anew: it is left as it is", s.label(f.ref()))
		}
		*f = again
	}
	return false, fmt.Errorf("write %s: others keep writing to it", s.label(f.ref()))
}

func (s *session) written(f found) written {
	now, _ := s.clock.Now() // zero if it is not known
	return written{keys: s.keys, all: f.object.GetAnnotations(), managers: f.object.GetManagedFields(), at: now}
}

func (s *session) patch(ctx context.Context, f *found, dryRun []string, c changes) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": f.object.GetResourceVersion(), "annotations": c,
	}})
	if err != nil {
		return err
	}
	ref := f.ref()
	object, err := s.dynamic.Resource(f.kind.Resource).Namespace(ref.Namespace).Patch(ctx, ref.Name, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: Manager, DryRun: dryRun})
	if err != nil {
		return fmt.Errorf("write %s: %w", s.label(ref), err)
	}
	f.object = object
	return nil
}

// dryRunFlag reads --dry-run as kubectl has it, of which this program has the server's.
func dryRunFlag(value string) ([]string, error) {
	switch value {
	case "none", "":
		return nil, nil
	case "server":
		return []string{metav1.DryRunAll}, nil
	}
	return nil, usagef("--dry-run=%s: it is server or none", value)
}

// confirm asks whether to go on with several targets. Where nobody can be asked, it has to
// be said beforehand.
func (s *session) confirm(ctx context.Context, verb string, all []found) error {
	var lines []string
	for _, f := range all {
		lines = append(lines, "  "+s.label(f.ref()))
	}
	s.tell("%s %s:\n%s", verb, plural(len(all), "target"), strings.Join(lines, "\n"))
	if !s.Asks {
		return usagef("more than one target, and nobody to ask: say --yes")
	}
	fmt.Fprint(s.Stderr, "Go on? [y/N] ")
	answer := make(chan string, 1)
	go func() { answer <- s.readLine() }()
	select {
	case <-ctx.Done():
		fmt.Fprintln(s.Stderr)
		return fmt.Errorf("%w: nothing was changed", context.Cause(ctx))
	case line := <-answer:
		if a := strings.ToLower(strings.TrimSpace(line)); a == "y" || a == "yes" {
			return nil
		}
	}
	return errors.New("nothing was changed")
}

// readLine reads a byte at a time: what comes after the line is a command's.
func (s *session) readLine() string {
	var line strings.Builder
	one := make([]byte, 1)
	for {
		n, err := s.Stdin.Read(one)
		if n == 1 && one[0] != '\n' {
			line.WriteByte(one[0])
		}
		if err != nil || n == 1 && one[0] == '\n' {
			return line.String()
		}
	}
}
