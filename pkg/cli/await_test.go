package cli

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/view"
)

// TestTimeoutNamesTheLastState: whoever waits in vain is told how a target was read last, also
// if the first list has not been answered by then or cannot be.
func TestTimeoutNamesTheLastState(t *testing.T) {
	never := func(view.Row, bool) (bool, error) { return false, nil }
	for name, test := range map[string]struct {
		list func(context.Context) error
		want string
	}{
		"answered": {func(context.Context) error { return nil }, ""},
		"late":     {func(ctx context.Context) error { <-ctx.Done(); return nil }, ""},
		"failing":  {func(context.Context) error { return errors.New("connection refused") }, "; changes could not be watched: failed to list *v1.PartialObjectMetadata: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k, h, c := newTestKeeper(t)
				c.Metadata.PrependReactor("list", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
					err := test.list(t.Context())
					return err != nil, nil, err
				})
				_, err := k.requestStart(t.Context(), []found{h.found}, details{}, nil)
				assert.NoError(t, err)
				h.found, err = k.get(t.Context(), target.Ref{Kind: "Ingress", Namespace: "shop", Name: "my-app"})
				assert.NoError(t, err)
				err = k.await(t.Context(), []found{h.found}, 2*time.Second, never)
				assert.EqualError(t, err, "timed out after 2s: ingress/my-app is requested: no controller has acted on it yet: "+
					"check that one runs, and that it serves this kind, namespace and class"+test.want)
				assert.NotContains(t, k.Stderr.(*bytes.Buffer).String(), "deleted")
			})
		})
	}
}
