package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
)

// activeScene is an active target with two hosts.
func activeScene(t *testing.T) *scene {
	t.Helper()
	s := newScene(t, "a", "b")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	s.later(time.Minute)
	require.Equal(t, annotations.Active, s.state())
	return s
}

// asLaterVersion is the record as a later version of the controller would write it.
func asLaterVersion(original string) string { return strings.Replace(original, `"v":1`, `"v":2`, 1) }

const unreadBackup = "backup ConfigMap maintenance-backup-ingress.my-app cannot be read (of another version)"

// TestUnreadableCopyIsKept while a backend is on a page, because it may have what nothing
// else has. Only the state is written. Everything continues once the copy can be read
// again, or if the other copy is enough to end maintenance.
func TestUnreadableCopyIsKept(t *testing.T) {
	for name, tc := range map[string]struct {
		annotation, backup bool // which cannot be read
		restored           bool // whether maintenance can end all the same
		says               string
	}{
		"the annotation": {annotation: true, restored: true, says: "annotation maintenance/original cannot be read (format version 2"},
		"the backup":     {backup: true, restored: true, says: unreadBackup},
		"both":           {annotation: true, backup: true, says: "Restore by hand"},
	} {
		t.Run(name, func(t *testing.T) {
			s := activeScene(t)
			original, copied := s.annotations()[annotations.Original], s.backup
			if tc.annotation {
				s.annotate(annotations.Original, asLaterVersion(original))
			}
			if tc.backup {
				s.backup = &Backup{Set: setA, ReadError: unreadBackup}
			}
			kept, keptCopy := s.annotations()[annotations.Original], s.backup
			s.settle()
			s.page.Set = setB // another page is no reason to write either
			s.later(time.Hour)
			s.sets[setA] = pageset.Status{Phase: pageset.Starting, Message: "starting"}
			s.later(time.Hour)
			assert.Equal(t, annotations.Blocked, s.state())
			assert.Contains(t, s.annotations()[annotations.Message], tc.says)
			assert.Equal(t, kept, s.annotations()[annotations.Original])
			assert.Same(t, keptCopy, s.backup)
			assert.Equal(t, setA+" "+setA, s.backends())
			assert.Equal(t, []string{setA}, s.claims)
			assert.Equal(t, 1, s.eventCount(RestoreFailed))

			s.annotate(annotations.DefaultEnabled, "false")
			s.settle()
			if tc.restored {
				assert.Equal(t, "app-a app-b", s.backends())
				assert.False(t, annotations.HasWritten(s.annotations()))
				assert.Nil(t, s.backup)
				return
			}
			assert.Equal(t, setA+" "+setA, s.backends())
			assert.Equal(t, 1, s.eventCount(BackendLost))
			assert.Contains(t, s.annotations()[annotations.Message], tc.says)
			assert.Equal(t, kept, s.annotations()[annotations.Original])
			assert.Same(t, keptCopy, s.backup)

			// A version that can read it is back.
			s.annotate(annotations.DefaultEnabled, "true")
			s.annotate(annotations.Original, original)
			s.page.Set, s.backup, s.sets[setA] = setA, copied, pageset.Status{Phase: pageset.Serving}
			s.later(time.Minute)
			assert.Equal(t, annotations.Active, s.state())
			assert.Empty(t, s.annotations()[annotations.Message])
			s.annotate(annotations.DefaultEnabled, "false")
			s.settle()
			assert.Equal(t, "app-a app-b", s.backends())
		})
	}
}

// TestTypoInTheRecordIsNotOverwritten if there is no backup: a person can repair it.
func TestTypoInTheRecordIsNotOverwritten(t *testing.T) {
	s := activeScene(t)
	original := s.annotations()[annotations.Original]
	typo := strings.TrimSuffix(original, "}")
	s.annotate(annotations.Original, typo)
	s.backup = nil
	s.later(time.Hour)
	assert.Equal(t, annotations.Blocked, s.state())
	assert.Equal(t, typo, s.annotations()[annotations.Original])
	assert.Nil(t, s.backup, "an empty one would be no copy")
	s.annotate(annotations.Original, original)
	s.later(time.Minute)
	assert.Equal(t, annotations.Active, s.state())
	assert.NotNil(t, s.backup)
}

// TestUnneededUnreadableRecordIsRewritten: no backend is on a page, so the backends say
// everything.
func TestUnneededUnreadableRecordIsRewritten(t *testing.T) {
	s := newScene(t, "a")
	s.annotate(annotations.Original, "{garbage")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	assert.Equal(t, setA, s.backends())
	s.annotate(annotations.DefaultEnabled, "false")
	s.settle()
	assert.Equal(t, "app-a", s.backends())
	assert.False(t, annotations.HasWritten(s.annotations()))
}

// TestBlockRemovesNothing: somebody removed annotation page-set, and the backup cannot be
// written.
func TestBlockRemovesNothing(t *testing.T) {
	s := activeScene(t)
	before := s.annotations()
	u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(s.object)}
	delete(before, annotations.PageSet)
	u.SetAnnotations(before)
	assert.Nil(t, Block(u.Object, "quota", ""), "it is in maintenance")

	delete(before, annotations.Original)
	u.SetAnnotations(before)
	blocked := unstructured.Unstructured{Object: Block(u.Object, "quota", "")}
	before[annotations.State], before[annotations.Message] = annotations.Blocked, "quota"
	assert.Equal(t, before, blocked.GetAnnotations())
}

// TestAllBackendsAreRemovedForAMoment and added again as they were during maintenance, as
// by an editor that writes twice.
func TestAllBackendsAreRemovedForAMoment(t *testing.T) {
	for name, on := range map[string]string{"and it goes on": "true", "and it ends": "false"} {
		t.Run(name, func(t *testing.T) {
			s := activeScene(t)
			rules, _, err := unstructured.NestedSlice(s.object, "spec", "rules")
			require.NoError(t, err)
			original, since := s.annotations()[annotations.Original], s.annotations()[annotations.Since]
			s.setRules()
			s.later(time.Hour)
			assert.Equal(t, annotations.Blocked, s.state())
			assert.Equal(t, original, s.annotations()[annotations.Original])
			assert.Equal(t, setA, s.annotations()[annotations.PageSet], "which keeps the set")
			require.NotNil(t, s.backup)
			assert.Equal(t, 1, s.eventCount(NothingToSwap))

			s.setRules(rules...)
			s.annotate(annotations.DefaultEnabled, on)
			s.later(time.Minute)
			if on == "true" {
				assert.Equal(t, annotations.Active, s.state())
				assert.Equal(t, since, s.annotations()[annotations.Since])
				s.annotate(annotations.DefaultEnabled, "false")
				s.settle()
			}
			assert.Equal(t, "app-a app-b", s.backends())
			assert.Zero(t, s.eventCount(BackendLost))
		})
	}
	s := activeScene(t)
	s.setRules()
	s.settle()
	s.annotate(annotations.DefaultEnabled, "false")
	s.settle()
	assert.False(t, annotations.HasWritten(s.annotations()), "it ends without them as well")
	assert.Nil(t, s.backup)
}

// TestOriginalThatThisVersionRefusesIsKept: it counts as unknown and is not dropped,
// because a later version accepted it and may restore it.
func TestOriginalThatThisVersionRefusesIsKept(t *testing.T) {
	s := activeScene(t)
	refused := `{"backendOfTheFuture":{"name":"app-b"}}`
	for _, text := range []string{s.annotations()[annotations.Original]} {
		s.annotate(annotations.Original, strings.Replace(text, `{"service":{"name":"app-b","port":{"number":80}}}`, refused, 1))
	}
	require.Contains(t, s.annotations()[annotations.Original], refused)
	s.backup.Record = parsed(t, s.annotations()[annotations.Original])
	s.later(time.Hour)
	assert.Contains(t, s.annotations()[annotations.Original], refused)
	assert.Contains(t, s.backup.Record.String(), refused)
	s.annotate(annotations.DefaultEnabled, "false")
	s.settle()
	assert.Equal(t, "app-a "+setA, s.backends())
	assert.Equal(t, 1, s.eventCount(BackendLost))
	assert.Contains(t, s.annotations()[annotations.Original], refused)
}

func parsed(t *testing.T, text string) swap.Record {
	t.Helper()
	r, err := swap.ParseRecord(text)
	require.NoError(t, err)
	return r
}

// TestRecordIsBounded: hosts are added and removed, and the originals of the oldest make
// room, with a warning. Originals of slots on a page never do.
func TestRecordIsBounded(t *testing.T) {
	s := activeScene(t)
	s.annotate("filler", strings.Repeat("x", annotations.MaxTotalSize-annotations.Size(s.annotations())-len("filler")-2000))
	for i := range 40 {
		host := fmt.Sprintf("host-%d.example.org", i)
		rules, _, err := unstructured.NestedSlice(s.object, "spec", "rules")
		require.NoError(t, err)
		s.setRules(append(rules[:2:2], rule(host, "app-"+host))...)
		s.later(time.Second)
		require.Equal(t, setA+" "+setA+" "+setA, s.backends())
	}
	record := parsed(t, s.annotations()[annotations.Original])
	var hosts []string
	for _, o := range record.Slots {
		hosts = append(hosts, o.Host)
	}
	assert.Greater(t, len(hosts), 5)
	assert.Less(t, len(hosts), 20)
	assert.Equal(t, []string{"a", "b", "host-39.example.org", "host-38.example.org", "host-37.example.org"}, hosts[:5])
	assert.Equal(t, record.String(), s.backup.Record.String())
	assert.Positive(t, s.eventCount(InvalidAnnotation))
	s.annotate(annotations.DefaultEnabled, "false")
	s.settle()
	assert.Equal(t, "app-a app-b app-host-39.example.org", s.backends())
}

// TestAdviceNamesTheLargeAnnotation: if kubectl's annotation leaves no room, removing large
// annotations would not help, because it comes back with the next apply.
func TestAdviceNamesTheLargeAnnotation(t *testing.T) {
	for key, says := range map[string]string{
		corev1.LastAppliedConfigAnnotation: "remove it and apply with --server-side from then on, or split the object in two",
		"example.com/filler":               "remove large ones",
	} {
		s := newScene(t, "a", "b")
		s.annotate(annotations.DefaultEnabled, "true")
		s.annotate(key, strings.Repeat("x", annotations.MaxTotalSize-annotations.Size(s.annotations())-len(key)-600))
		s.settle()
		assert.NotContains(t, s.backends(), setA, "not without its originals")
		assert.Contains(t, s.annotations()[annotations.Message], says)
	}
}
