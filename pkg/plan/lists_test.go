package plan

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sources of the package, without its tests.
func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	files := map[string]*ast.File{}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
			files[e.Name()], err = parser.ParseFile(token.NewFileSet(), e.Name(), nil, parser.SkipObjectResolution)
			require.NoError(t, err)
		}
	}
	return files
}

// TestEveryReasonIsListed: a reason that is declared and not listed would be told
// without a word of what it means.
func TestEveryReasonIsListed(t *testing.T) {
	var declared, listed []string
	ast.Inspect(sources(t)["reasons.go"], func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Reason" {
				declared = append(declared, spec.Names[0].Name)
			}
		}
		return true
	})
	for _, about := range Reasons() {
		listed = append(listed, string(about.Reason))
		assert.NotEmpty(t, about.Meaning, about.Reason)
		assert.NotEmpty(t, about.Remedy, about.Reason)
	}
	assert.NotEmpty(t, listed)
	assert.ElementsMatch(t, declared, listed)
	assert.True(t, BackendLost.Warning())
	assert.False(t, MaintenanceStarted.Warning())
}

// TestStatesHaveOneHome: a state that is set without its message keeps the message of
// the state before, which is about something else.
func TestStatesHaveOneHome(t *testing.T) {
	files := sources(t)
	require.Contains(t, slices.Collect(maps.Keys(files)), "status.go")
	for name, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, to := range n.Lhs {
					s, ok := to.(*ast.SelectorExpr)
					assert.False(t, ok && name != "status.go" && (s.Sel.Name == "State" || s.Sel.Name == "Message"), "%s sets %s: use said", name, "State or Message")
				}
			case *ast.CompositeLit:
				kind, ok := n.Type.(*ast.SelectorExpr)
				assert.False(t, ok && kind.Sel.Name == "Status" && name != "status.go" && len(n.Elts) > 0, "%s makes a status: use said", name)
			}
			return true
		})
	}
}

// TestInputsAreOnlyRead: what is decided must not look like what was found.
func TestInputsAreOnlyRead(t *testing.T) {
	for name, file := range sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			if assign, ok := n.(*ast.AssignStmt); ok {
				for _, to := range assign.Lhs {
					assert.False(t, reads(to, "in"), "%s writes to what a decision stands on", name)
				}
			}
			return true
		})
	}
}

// reads says whether an expression leads through a field of this name.
func reads(e ast.Expr, field string) bool {
	for {
		switch at := e.(type) {
		case *ast.SelectorExpr:
			if at.Sel.Name == field {
				return true
			}
			e = at.X
		case *ast.IndexExpr:
			e = at.X
		default:
			return false
		}
	}
}
