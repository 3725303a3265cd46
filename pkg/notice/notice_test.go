package notice

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
)

// TestWarningIsReportedOncePerObject: again for a new object of the same name, and again
// after the warning was over.
func TestWarningIsReportedOncePerObject(t *testing.T) {
	recorder := record.NewFakeRecorder(10)
	b := New[string](recorder)
	lost := Notice{Warning: true, Reason: "BackendLost", Message: "lost"}
	tell := func(uid types.UID, notices ...Notice) (told int) {
		b.Post("my-app", &corev1.ObjectReference{UID: uid}, notices)
		for ; len(recorder.Events) > 0; told++ {
			<-recorder.Events
		}
		return told
	}
	assert.Equal(t, 1, tell("a", lost))
	assert.Equal(t, 0, tell("a", lost))
	assert.Equal(t, 1, tell("b", lost), "another object of that name")
	assert.Equal(t, 0, tell("b", lost))
	assert.Equal(t, 0, tell("b"))
	assert.Equal(t, 1, tell("b", lost), "it was over")
	started := Notice{Reason: "MaintenanceStarted"}
	assert.Equal(t, 1, tell("b", started))
	assert.Equal(t, 1, tell("b", started), "a transition is told each time")
	b.Forget("my-app")
	assert.Equal(t, 1, tell("b", lost))
}
