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

// maxConflicts is how often a change is retried because somebody else changed the target.
const maxConflicts = 30

// change makes the changes that decide returns for a target's annotations. After a conflict
// it reads the target again, and calls decide again. It returns whether there were changes.
func (s *session) change(ctx context.Context, f *found, dryRun []string, decide func(annotated) changes) (bool, error) {
	for range maxConflicts {
		c := decide(s.annotated(*f))
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
			return false, fmt.Errorf("%s was deleted and created again: the new one was not changed", s.label(f.ref()))
		}
		*f = again
	}
	return false, fmt.Errorf("write %s: others keep changing it, try again later", s.label(f.ref()))
}

func (s *session) annotated(f found) annotated {
	now, _ := s.clock.Now() // zero if it is not known
	return annotated{keys: s.keys, all: f.object.GetAnnotations(), managers: f.object.GetManagedFields(), now: now}
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
		metav1.PatchOptions{FieldManager: FieldManager, DryRun: dryRun})
	if err != nil {
		return fmt.Errorf("write %s: %w", s.label(ref), err)
	}
	f.object = object
	return nil
}

// dryRunFlag reads --dry-run. Of kubectl's values, this program has only server and none.
func dryRunFlag(value string) ([]string, error) {
	switch value {
	case "none", "":
		return nil, nil
	case "server":
		return []string{metav1.DryRunAll}, nil
	}
	return nil, usagef("--dry-run=%s: use server or none", value)
}

// confirm asks whether to change several targets. If there is nobody to ask, it fails.
func (s *session) confirm(ctx context.Context, question string, all []found) error {
	var lines []string
	for _, f := range all {
		lines = append(lines, "  "+s.label(f.ref()))
	}
	s.tell("%s %s:\n%s", question, plural(len(all), "target"), strings.Join(lines, "\n"))
	if !s.StdinIsTerminal {
		return usagef("more than one target, and no terminal to ask on: give --yes")
	}
	fmt.Fprint(s.Stderr, "Continue? [y/N] ")
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

// readLine reads one byte at a time, because the rest of the input may be for a command.
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
