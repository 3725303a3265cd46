package soundness

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/target"
)

const (
	set       = "maintenance-0123456789abcdef"
	known     = `{"v":1,"slots":[{"type":"defaultBackend","at":0,"value":{"service":{"name":"app","port":{"number":80}}}}]}`
	knownPort = `{"v":1,"slots":[{"type":"selector","at":0,"value":{"app":"a"}},{"type":"targetPort","path":"80/TCP","at":1,"value":"http"}]}`
)

var ref = target.Ref{Kind: "Ingress", Namespace: "shop", Name: "my-app"}

// ingress is a revision of an Ingress that leads to a Service.
func ingress(t *testing.T, at int, leadsTo, original string) func(*Recorder) {
	t.Helper()
	return of(t, target.Ingress(), at, original, `
spec: {defaultBackend: {service: {name: `+leadsTo+`, port: {number: 80}}}}`)
}

// written is a revision of an Ingress whose record the controller has written.
func written(t *testing.T, at int, leadsTo, original string) func(*Recorder) {
	t.Helper()
	u := parse(t, at, "kind: Ingress\nmetadata: {name: my-app, namespace: shop}\nspec: {defaultBackend: {service: {name: "+leadsTo+", port: {number: 80}}}}")
	u.SetAnnotations(map[string]string{annotations.Original: original})
	own(u, `{"f:metadata":{"f:annotations":{"f:`+annotations.Original+`":{}}}}`)
	return func(rec *Recorder) { rec.Target(target.Ingress(), u) }
}

func own(u *unstructured.Unstructured, fields string) {
	u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: ownership.Manager, Operation: metav1.ManagedFieldsOperationUpdate, FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)}}})
}

// service is a revision of a Service that leads to a page.
func service(t *testing.T, at int, original string) func(*Recorder) {
	t.Helper()
	return of(t, target.Service(), at, original, `
spec: {selector: {`+annotations.PageSetLabel+`: `+set+`}, ports: [{port: 80, targetPort: `+page.PortName+`}]}`)
}

func of(t *testing.T, k target.Kind, at int, original, spec string) func(*Recorder) {
	t.Helper()
	u := parse(t, at, fmt.Sprintf("kind: %s\nmetadata: {name: my-app, namespace: shop}", k.Name)+spec)
	if original != "" {
		u.SetAnnotations(map[string]string{annotations.Original: original})
	}
	return func(rec *Recorder) { rec.Target(k, u) }
}

// copied is a revision of the Ingress's backup, written by a person.
func copied(t *testing.T, at int, e watch.EventType, originals string) func(*Recorder) {
	t.Helper()
	u := configMap(t, at, originals)
	return func(rec *Recorder) { rec.ConfigMap(e, u) }
}

// rewritten is a revision of the backup that the controller has written.
func rewritten(t *testing.T, at int, originals string) func(*Recorder) {
	t.Helper()
	u := configMap(t, at, originals)
	own(u, `{"f:data":{"f:originals":{}}}`)
	return func(rec *Recorder) { rec.ConfigMap(watch.Modified, u) }
}

func configMap(t *testing.T, at int, originals string) *unstructured.Unstructured {
	t.Helper()
	return parse(t, at, fmt.Sprintf("kind: ConfigMap\nmetadata: {name: %s, namespace: shop, labels: {%s: %s}}\ndata: {kind: Ingress, name: my-app, originals: %q}",
		backup.Name(ref), annotations.ComponentLabel, annotations.ComponentBackup, originals))
}

func parse(t *testing.T, at int, manifest string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte("apiVersion: v1\n" + manifest))
	require.NoError(t, err)
	u := &unstructured.Unstructured{}
	require.NoError(t, u.UnmarshalJSON(raw))
	u.SetResourceVersion(fmt.Sprint(at))
	return u
}

// TestLossesAreFound: the check fails where it must.
func TestLossesAreFound(t *testing.T) {
	t.Parallel()
	added, deleted := watch.Added, watch.Deleted
	taken := strings.ReplaceAll(known, `"app"`, `"`+set+`"`)
	later := strings.Replace(known, "1", "2", 1)
	otherSlot := strings.ReplaceAll(known, "defaultBackend", "Prefix")
	for name, test := range map[string]struct {
		seen []func(*Recorder)
		want int
	}{
		"on the app":                          {[]func(*Recorder){ingress(t, 5, "app", "")}, 0},
		"on a page, with its record":          {[]func(*Recorder){ingress(t, 5, set, known)}, 0},
		"on a page, without a record":         {[]func(*Recorder){ingress(t, 5, set, "")}, 1},
		"with an unreadable record":           {[]func(*Recorder){ingress(t, 5, set, "{")}, 0}, // a person's typo: it may hold anything
		"written by the controller":           {[]func(*Recorder){written(t, 5, set, "{")}, 1},
		"with a record of a later format":     {[]func(*Recorder){ingress(t, 5, set, later)}, 0},
		"written by a later controller":       {[]func(*Recorder){written(t, 5, set, later)}, 0},
		"with an empty record":                {[]func(*Recorder){ingress(t, 5, set, `{"v":1,"slots":[]}`)}, 1},
		"the backup is older":                 {[]func(*Recorder){copied(t, 4, added, known), ingress(t, 5, set, "")}, 0},
		"the backup is older, and seen later": {[]func(*Recorder){ingress(t, 5, set, ""), copied(t, 4, added, known)}, 0},
		"the backup is newer":                 {[]func(*Recorder){ingress(t, 5, set, ""), copied(t, 6, added, known)}, 1},
		"the backup was deleted before":       {[]func(*Recorder){copied(t, 3, added, known), copied(t, 4, deleted, known), ingress(t, 5, set, "")}, 1},
		"the backup is deleted later":         {[]func(*Recorder){copied(t, 3, added, known), ingress(t, 5, set, ""), copied(t, 6, deleted, known)}, 0},
		"the backup was emptied before":       {[]func(*Recorder){copied(t, 3, added, known), copied(t, 4, watch.Modified, `{"v":1,"slots":[]}`), ingress(t, 5, set, "")}, 1},
		"the backup is unreadable":            {[]func(*Recorder){copied(t, 4, added, "{"), ingress(t, 5, set, "")}, 0},
		"and is overwritten":                  {[]func(*Recorder){copied(t, 4, added, "{"), ingress(t, 5, set, known), rewritten(t, 6, known)}, 1},
		"by a person":                         {[]func(*Recorder){copied(t, 4, added, "{"), ingress(t, 5, set, known), copied(t, 6, watch.Modified, known)}, 0},
		"while the app is served":             {[]func(*Recorder){copied(t, 4, added, "{"), ingress(t, 5, "app", known), rewritten(t, 6, known)}, 0},
		"an unreadable record is overwritten": {[]func(*Recorder){ingress(t, 5, set, later), written(t, 6, set, known)}, 1},
		"it is fixed by hand":                 {[]func(*Recorder){ingress(t, 5, set, "{"), ingress(t, 6, set, known)}, 0},
		"it is emptied":                       {[]func(*Recorder){ingress(t, 5, set, later), written(t, 6, set, `{"v":1,"slots":[]}`)}, 2},
		"it is overwritten by the restore":    {[]func(*Recorder){ingress(t, 5, set, later), written(t, 6, "app", known)}, 0},
		"a record that shrinks":               {[]func(*Recorder){ingress(t, 5, set, known), ingress(t, 6, set, otherSlot)}, 1},
		"a record and its backup shrink":      {[]func(*Recorder){copied(t, 4, added, known), ingress(t, 5, set, known), copied(t, 6, watch.Modified, otherSlot), ingress(t, 7, set, otherSlot)}, 1},
		"a backup that shrinks first":         {[]func(*Recorder){copied(t, 4, added, known), ingress(t, 5, set, ""), copied(t, 6, watch.Modified, otherSlot)}, 1},
		"the backup has the dropped original": {[]func(*Recorder){copied(t, 4, added, known), ingress(t, 5, set, known), ingress(t, 6, set, otherSlot)}, 0},
		"an unreadable backup may have it":    {[]func(*Recorder){copied(t, 4, added, later), ingress(t, 5, set, known), ingress(t, 6, set, otherSlot)}, 0},
		"the backup completes a bad record":   {[]func(*Recorder){copied(t, 4, added, known), ingress(t, 5, set, "{")}, 0},
		"two revisions without a record":      {[]func(*Recorder){ingress(t, 5, set, ""), ingress(t, 6, set, "")}, 2},
		"the record holds a page set":         {[]func(*Recorder){ingress(t, 5, "app", taken)}, 1},
		"on a page, and its original is one":  {[]func(*Recorder){ingress(t, 5, set, taken)}, 2},
		"the backup holds a page set":         {[]func(*Recorder){copied(t, 4, added, taken)}, 1},
		"a Service with its record":           {[]func(*Recorder){service(t, 5, knownPort)}, 0},
		"a Service without a record":          {[]func(*Recorder){service(t, 5, "")}, 1},
		"the record holds a page set's label": {[]func(*Recorder){of(t, target.Service(), 5, strings.Replace(knownPort, `{"app":"a"}`, `{"x":"`+set+`"}`, 1), "")}, 1},
		"the record holds the page's port":    {[]func(*Recorder){of(t, target.Service(), 5, strings.Replace(knownPort, `"http"`, `"`+page.PortName+`"`, 1), "")}, 1},
		"only the original of another slot":   {[]func(*Recorder){ingress(t, 5, set, otherSlot)}, 0}, // a renamed slot gets it back
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := NewRecorder()
			for _, see := range test.seen {
				see(rec)
			}
			_, wrong := rec.Violations()
			assert.Len(t, wrong, test.want)
		})
	}
}

// TestLossesCausedByTheTestAreAllowed: what the test itself does is no violation, and
// everything else still is.
func TestLossesCausedByTheTestAreAllowed(t *testing.T) {
	t.Parallel()
	rec := NewRecorder()
	ingress(t, 5, set, "")(rec)
	rec.AllowLoss(ref, 5)
	ingress(t, 6, set, "")(rec)
	rec.AllowLoss(target.Ref{Kind: "Ingress", Namespace: "shop", Name: "other"}, 0)
	_, wrong := rec.Violations()
	assert.Len(t, wrong, 1, "the one before the loss was allowed")
	assert.Contains(t, wrong[0], "at 5")

	taken := strings.ReplaceAll(known, `"app"`, `"`+set+`"`)
	rec = NewRecorder()
	rec.AllowForged(taken)
	ingress(t, 5, "app", taken)(rec)
	judged, wrong := rec.Violations()
	assert.Equal(t, 1, judged)
	assert.Empty(t, wrong)
	ingress(t, 6, "app", taken+" ")(rec)
	ingress(t, 7, set, taken)(rec)
	_, wrong = rec.Violations()
	assert.Len(t, wrong, 2, "another text is not allowed, nor a page without another original")
}
