package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

func slotsOf(t *testing.T, s *scene) []swap.Slot {
	t.Helper()
	slots, err := target.Ingress().Slots(s.object)
	require.NoError(t, err)
	return slots
}

// TestTargetOfAnotherInstallationIsLeftAlone, whatever is asked for; the conflict is
// reported if this installation is asked for it too.
func TestTargetOfAnotherInstallationIsLeftAlone(t *testing.T) {
	s := newScene(t, "a")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	backup := *s.backup
	for _, on := range []bool{true, false} {
		d := Decide(State{
			Now: epoch, Kind: target.Ingress(), Object: s.object, Slots: slotsOf(t, s), Wanted: wanted.Answer{On: on}, Page: Page{Set: setB, Name: "default"},
			Sets: map[string]pageset.Status{setB: {Phase: pageset.Serving}}, Backup: &backup, Installation: "blue", OtherInstallation: "red",
		})
		assert.Nil(t, d.Update)
		assert.Nil(t, d.WriteBackup)
		assert.Empty(t, d.Claims)
		assert.False(t, d.DropBackup, "it is on a page")
		if on {
			require.Len(t, d.Events, 1)
			assert.Equal(t, InstallationConflict, d.Events[0].Reason)
			assert.Contains(t, d.Events[0].Message, `installation "red" already has this in maintenance`)
		} else {
			assert.Empty(t, d.Events, "two that are asked by different annotations do not meet")
		}
	}
	app := newScene(t, "a")
	d := Decide(State{Kind: target.Ingress(), Object: app.object, Slots: slotsOf(t, app), Wanted: wanted.Answer{On: true}, Backup: &backup, OtherInstallation: "red"})
	assert.True(t, d.DropBackup, "of a swap that the other was faster with")
}

// TestInstallationIDIsWrittenWithOtherChanges and never alone: a target that is older than
// ids gets one with the next change.
func TestInstallationIDIsWrittenWithOtherChanges(t *testing.T) {
	s := newScene(t, "a")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	s.later(time.Minute)
	require.Equal(t, annotations.Active, s.state())
	assert.NotContains(t, s.annotations(), annotations.Installation)
	writes := s.writes
	s.installation = "blue"
	s.settle()
	s.later(time.Hour)
	assert.Equal(t, writes, s.writes, "nothing is written for the id")
	assert.NotContains(t, s.annotations(), annotations.Installation)
	s.page.Set = setB
	s.settle()
	assert.Equal(t, "blue", s.annotations()[annotations.Installation], "with what is written anyway")
	s.installation = "green" // it has taken over
	s.page.Set = setA
	s.settle()
	assert.Equal(t, "green", s.annotations()[annotations.Installation])
	s.annotate(annotations.DefaultEnabled, "false")
	s.settle()
	assert.Equal(t, map[string]string{annotations.DefaultEnabled: "false"}, s.annotations())

	object := newScene(t, "a").object
	blocked := unstructured.Unstructured{Object: Block(object, "why", "blue")}
	assert.Equal(t, "blue", blocked.GetAnnotations()[annotations.Installation])
}
