package installation

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
)

func TestOwns(t *testing.T) {
	for name, c := range map[string]struct {
		i    Installation
		id   string
		want bool
	}{
		"its own":               {Installation{ID: "a"}, "a", true},
		"another's":             {Installation{ID: "a"}, "b", false},
		"an adopted one's":      {Installation{ID: "a", Adopted: []string{"b"}}, "b", true},
		"nobody's":              {Installation{ID: "a"}, "", true},
		"anybody's, for nobody": {Installation{}, "b", true},
	} {
		assert.Equal(t, c.want, c.i.Owns(c.id), name)
	}
}

// TestInstallationsNeverShareAName, and what is older than ids keeps its name.
func TestInstallationsNeverShareAName(t *testing.T) {
	hash := page.Page{Status: 503}.Hash()
	names := map[string]string{}
	for _, id := range []string{Default, "a/b", "a/c", "blue"} {
		name := Installation{ID: id}.SetName(hash)
		assert.True(t, page.IsSetName(name), name)
		assert.Empty(t, names[name], id)
		names[name] = id
		assert.True(t, ValidSetName(id, hash, name))
		assert.True(t, ValidSetName(id, hash, page.SetName(hash)), "from before there were ids")
		assert.Equal(t, name == page.SetName(hash), ValidSetName("another", hash, name))
	}
	assert.Equal(t, page.SetName(hash), Installation{}.SetName(hash))
	assert.Equal(t, Default, names[page.SetName(hash)])
}

func TestMark(t *testing.T) {
	given := map[string]string{"app": "shop"}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Labels: given}}
	Installation{}.Mark(cm)
	assert.Empty(t, Of(cm))
	long := strings.Repeat("n", 63) + "/" + strings.Repeat("m", 253)
	Installation{ID: long}.Mark(cm)
	assert.Equal(t, long, Of(cm))
	assert.Empty(t, validation.IsValidLabelValue(cm.Labels[annotations.Installation]))
	assert.Equal(t, map[string]string{"app": "shop"}, given, "the caller's map is not written to")
	Installation{ID: "b"}.Mark(cm)
	assert.Equal(t, long, Of(cm), "an id stays")

	var svc corev1.Service
	Inherit(cm, &svc)
	assert.Equal(t, long, Of(&svc))
	assert.Equal(t, cm.Labels[annotations.Installation], svc.Labels[annotations.Installation])
	Inherit(&corev1.ConfigMap{}, &svc)
	assert.Equal(t, long, Of(&svc))
}

func TestCheck(t *testing.T) {
	for _, good := range []string{Default, "blue", "größer", strings.Repeat("a", 317)} {
		assert.NoError(t, Check(good), good)
	}
	for _, bad := range []string{"", "a b", "a,b", "a\nb", "\xff", "a\u200b", strings.Repeat("a", 318)} {
		assert.Error(t, Check(bad), bad)
	}
}

func TestOther(t *testing.T) {
	own := Installation{ID: "blue", Adopted: []string{"old"}}
	carrying := func(id string) metav1.Object {
		cm := &corev1.ConfigMap{}
		Installation{ID: id}.Mark(cm)
		return cm
	}
	for name, c := range map[string]struct {
		trace Trace
		want  string
	}{
		"nothing":                     {Trace{}, ""},
		"its own":                     {Trace{Annotations: map[string]string{annotations.Installation: "blue", annotations.State: "active"}}, ""},
		"an adopted one's":            {Trace{Annotations: map[string]string{annotations.Installation: "old", annotations.State: "active"}}, ""},
		"from before there were ids":  {Trace{Annotations: map[string]string{annotations.State: "active"}, OnPage: true, Kept: []metav1.Object{&corev1.ConfigMap{}}}, ""},
		"another's":                   {Trace{Annotations: map[string]string{annotations.Installation: "red", annotations.State: "pending"}}, "red"},
		"a leftover":                  {Trace{Annotations: map[string]string{annotations.Installation: "red"}}, ""},
		"on a page with an id alone":  {Trace{Annotations: map[string]string{annotations.Installation: "red"}, OnPage: true}, "red"},
		"stripped, with its backup":   {Trace{OnPage: true, Kept: []metav1.Object{carrying("red")}}, "red"},
		"stripped, with its set":      {Trace{OnPage: true, Kept: []metav1.Object{&corev1.ConfigMap{}, carrying("red")}}, "red"},
		"about to be swapped":         {Trace{Kept: []metav1.Object{carrying("red")}}, "red"},
		"its own, on another's set":   {Trace{Annotations: map[string]string{annotations.Installation: "blue"}, OnPage: true, Kept: []metav1.Object{carrying("red")}}, ""},
		"stripped, of its own backup": {Trace{OnPage: true, Kept: []metav1.Object{carrying("blue"), carrying("red")}}, ""},
	} {
		assert.Equal(t, c.want, own.Other(c.trace), name)
		assert.Empty(t, Installation{}.Other(c.trace), name)
	}
}
