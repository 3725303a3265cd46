package pagebook

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/page"
)

// TestBrokenFormatLeavesTheOthers: a broken format is taken from the default page, and the reason is
// reported.
func TestBrokenFormatLeavesTheOthers(t *testing.T) {
	standard := page.Page{Status: 503, Bodies: map[string]string{"page.html": "default", "page.json": `"default"`, "page.txt": "default"}}
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "page-spring"},
		Data:       map[string]string{"page.html": "spring", "page.json": "{spring}"},
		BinaryData: map[string][]byte{"page.de.txt": []byte("Fr\xfchling")}, // as kubectl stores Latin-1
	}
	p, faults, err := read(cm, standard)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"page.html": "spring", "page.json": `"default"`, "page.txt": "default"}, p.Bodies)
	broken := brokenFormats(cm, "spring", faults)
	assert.Contains(t, broken, `page "spring" (ConfigMap shop/page-spring) is shown without its own json, txt: key "page.json" is not valid JSON`)
	assert.Contains(t, broken, `key "page.de.txt" is not valid UTF-8: save the file as UTF-8`)

	delete(cm.Data, "page.html")
	_, _, err = read(cm, standard)
	assert.ErrorContains(t, err, "is not valid JSON", "no format is left")
}

type shelf []*corev1.ConfigMap

func (s shelf) Named(namespace, _ string) (found []*corev1.ConfigMap) {
	for _, cm := range s {
		if cm.Namespace == namespace {
			found = append(found, cm)
		}
	}
	return found
}

// TestOldestConfigMapWins: a rollback applies an older ConfigMap again. Targets that ask for the
// page are told as well, not only the newer ConfigMaps.
func TestOldestConfigMapWins(t *testing.T) {
	at := func(minute int, name, html string) *corev1.ConfigMap {
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: metav1.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC)},
			Data:       map[string]string{"page.html": html},
		}
	}
	events := record.NewFakeRecorder(10)
	b := New(Config{Source: shelf{at(2, "page-spring-5k7f", "new"), at(1, "page-spring-9hbt", "old")}, Recorder: events, OwnNamespace: "maintenance-system", NamespacePages: true})
	r := b.Resolve("shop", "spring", time.Time{})
	assert.Equal(t, "old", r.Content.Bodies["page.html"])
	assert.Contains(t, r.Rivals, `page "spring" is in 2 ConfigMaps of namespace shop: the oldest, page-spring-9hbt, is shown, and the newest, page-spring-5k7f, is not`)
	assert.Contains(t, r.Rivals, "disableNameSuffixHash")
	assert.Contains(t, <-events.Events, "is also in ConfigMap page-spring-9hbt")

	b = New(Config{Source: shelf{at(1, "page-spring", "only")}, Recorder: events, NamespacePages: true})
	assert.Empty(t, b.Resolve("shop", "spring", time.Time{}).Rivals)
}

// placed is a Source.
type placed map[Place][]*corev1.ConfigMap

func (s placed) Named(namespace, name string) []*corev1.ConfigMap { return s[Place{namespace, name}] }

// TestUnknownNamesAreNotCached: pages are cached by their place, however many namespaces ask for
// them, and names that are no page's are not cached.
func TestUnknownNamesAreNotCached(t *testing.T) {
	standard := page.Page{Status: 503, RetryAfter: time.Minute, Bodies: map[string]string{"page.html": "default"}}
	at := func(namespace, name string) []*corev1.ConfigMap { return pageOf(name, namespace+" "+name) }
	b := New(Config{
		OwnNamespace: "own", NamespacePages: true, BuiltIn: standard, CustomPage: "maintenance/custom-page", Installation: installation.Installation{ID: "blue"},
		Source: placed{{"own", "spring"}: at("own", "spring"), {"shop", "spring"}: at("shop", "spring"), {"shop", "sale"}: at("shop", "sale")},
	})
	for i := range 1000 {
		namespace, typo := fmt.Sprintf("ns-%d", i), fmt.Sprintf("sprnig-%d", i)
		assert.Empty(t, b.Resolve(namespace, annotations.DefaultPage, time.Time{}).Problem)
		assert.Equal(t, "own spring", b.Resolve(namespace, "spring", time.Time{}).Content.Bodies["page.html"])
		r := b.Resolve(namespace, typo, time.Time{})
		assert.Equal(t, "default", r.Content.Bodies["page.html"])
		assert.Equal(t, `annotation maintenance/custom-page names page "`+typo+`", which does not exist: create a ConfigMap labelled maintenance/custom-page=`+typo+` in namespace `+namespace+` or own`, r.Problem)
	}
	assert.Equal(t, "shop spring", b.Resolve("shop", "spring", time.Time{}).Content.Bodies["page.html"])
	sale := b.Resolve("shop", "sale", time.Time{})
	assert.Equal(t, "sale", sale.Name)
	assert.Equal(t, sale.Content.Hash(), sale.Hash)
	assert.Equal(t, installation.Installation{ID: "blue"}.SetName(sale.Hash), sale.Set)
	assert.NotEmpty(t, b.Resolve("blog", "sale", time.Time{}).Problem, "it is in another namespace")
	assert.Len(t, b.resolved, 4, "the default page and the three that exist")
}

// pageOf is a page in one ConfigMap, with only an HTML body.
func pageOf(name, html string) []*corev1.ConfigMap {
	return []*corev1.ConfigMap{{ObjectMeta: metav1.ObjectMeta{Namespace: "any", Name: "page-" + name}, Data: map[string]string{"page.html": html}}}
}
