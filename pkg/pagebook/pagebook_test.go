package pagebook

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/page"
)

// TestOneBrokenFormatLeavesTheOthers: and the reason reaches whoever asked for the page.
func TestOneBrokenFormatLeavesTheOthers(t *testing.T) {
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
	assert.ErrorContains(t, err, "is not valid JSON", "nothing is left of it")
}
