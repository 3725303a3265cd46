package annotations

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/access"
)

// TestAccess: an invalid value is reported and lets nobody through.
func TestAccess(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		give     map[string]string
		want     Access
		problems []string // parts of the messages, in order
	}{
		"nothing":       {},
		"a Secret":      {give: map[string]string{BypassSecret: " team "}, want: Access{BypassSecret: "team"}},
		"no name":       {give: map[string]string{BypassSecret: "Team!"}, problems: []string{`bypass-secret is "Team!"`}},
		"paths":         {give: map[string]string{OpenPaths: "/webhooks/, /admin,/admin,"}, want: Access{OpenPaths: []string{"/admin", "/webhooks/"}}},
		"read-only":     {give: map[string]string{ReadOnly: "true"}, want: Access{ReadOnly: true}},
		"not read-only": {give: map[string]string{ReadOnly: "false"}},
		"neither":       {give: map[string]string{ReadOnly: "yes"}, problems: []string{`read-only is "yes"`}},
		"addresses":     {give: map[string]string{AllowFrom: "10.0.0.0/8"}, problems: []string{"allow-from has no effect"}},
		"the whole app": {give: map[string]string{OpenPaths: "/,/a"}, want: Access{OpenPaths: []string{"/a"}}, problems: []string{"open everything"}},
		"paths that servers read differently": {
			give:     map[string]string{OpenPaths: `admin,/a/../b,//a,/a\b,/a;b,/a%2fb,/a?x,/*`},
			problems: []string{`"admin"`, `"/a/../b"`, `"//a"`, `"/a\\b"`, `"/a;b"`, `"/a%2fb"`, `"/a?x"`, `"/*"`},
		},
		"a long one": {give: map[string]string{OpenPaths: "/" + strings.Repeat("a", access.MaxOpenPath)}, problems: []string{"give at most 1024"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, problems := DefaultKeys().Parse(tc.give)
			assert.Equal(t, tc.want, req.Access)
			assert.Equal(t, tc.want.BypassSecret != "" || tc.want.OpenPaths != nil || tc.want.ReadOnly, req.Access.LetsAnybodyThrough())
			require.Len(t, problems, len(tc.problems))
			for i, p := range problems {
				assert.Contains(t, p.Message, tc.problems[i])
				assert.False(t, p.Unknown)
			}
		})
	}
}

func TestOpenPathsAreBounded(t *testing.T) {
	t.Parallel()
	var paths []string
	for i := range access.MaxOpenPaths + 1 {
		paths = append(paths, fmt.Sprintf("/p%02d", i))
	}
	req, problems := DefaultKeys().Parse(map[string]string{OpenPaths: strings.Join(paths, ",")})
	assert.Equal(t, paths[:access.MaxOpenPaths], req.Access.OpenPaths)
	require.Len(t, problems, 1)
	assert.Contains(t, problems[0].Message, `"/p64"`)
}
