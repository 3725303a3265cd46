package reason_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/checker"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/reason"
)

// TestEveryReasonIsListed: a reason that is declared but not listed would be reported without an
// explanation, and never as a Warning.
func TestEveryReasonIsListed(t *testing.T) {
	t.Run("targets", func(t *testing.T) { requireAllListed(t, "../plan/reasons.go", plan.Reasons()) })
	t.Run("checkers", func(t *testing.T) { requireAllListed(t, "../checker/reasons.go", checker.Reasons()) })
	assert.True(t, plan.BackendLost.Warning())
	assert.False(t, plan.MaintenanceStarted.Warning())
}

// requireAllListed compares the constants of type Reason in a file with a list of them.
func requireAllListed[R ~string](t *testing.T, path string, all []reason.About[R]) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	var declared, listed []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Reason" {
				declared = append(declared, spec.Names[0].Name)
			}
		}
		return true
	})
	for _, about := range all {
		listed = append(listed, string(about.Reason))
		assert.NotEmpty(t, about.Meaning, about.Reason)
		assert.NotEmpty(t, about.Remedy, about.Reason)
	}
	assert.NotEmpty(t, listed)
	assert.ElementsMatch(t, declared, listed)
}
