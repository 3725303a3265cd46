package app

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"k8s.io/client-go/rest"

	"maintenance-controller.io/pkg/metrics"
	"maintenance-controller.io/pkg/readiness"
)

// TestStandbyWatchesCheckersOnlyForTheAPI: without the HTTP API nobody asks a standby for them.
func TestStandbyWatchesCheckersOnlyForTheAPI(t *testing.T) {
	for name, tc := range map[string]struct {
		args       []string
		everywhere bool
		parts      int
	}{
		"without the API": {nil, false, 2},
		"with the API":    {[]string{"--api-listen=:8443"}, true, 2},
		"switched off":    {[]string{"--api-listen=:8443", "--service-checkers=false"}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"--page-image=page:v1", "--namespace=own"}, tc.args...)
			o, err := parse(args, func(string) (string, bool) { return "", false }, t.Output())
			require.NoError(t, err)
			c, err := o.serviceCheckers(&rest.Config{Host: "https://127.0.0.1:1"}, readiness.New(readiness.Config{}), metrics.New(), zap.NewNop())
			require.NoError(t, err)
			parts := c.parts()
			require.Len(t, parts, tc.parts)
			if tc.parts == 0 {
				return
			}
			assert.Equal(t, tc.everywhere, !parts[0].Leader, "the watch")
			assert.True(t, parts[1].Leader, "the status")
		})
	}
}
