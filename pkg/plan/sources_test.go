package plan

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strconv"
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

// TestEveryStateIsListed: a state that is declared but not listed would be missing in the documents.
func TestEveryStateIsListed(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../annotations/annotations.go", nil, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	declared := []string{""}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || !strings.HasPrefix(group.Doc.Text(), "Values of State.") {
			continue
		}
		for _, spec := range group.Specs {
			value, err := strconv.Unquote(spec.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			declared = append(declared, value)
		}
	}
	assert.Greater(t, len(declared), 1)
	var listed []string
	for _, state := range States() {
		listed = append(listed, state.State)
	}
	assert.ElementsMatch(t, declared, listed)
}

// TestStatesAreSetInOnePlace: a state that is set without its message would keep the
// message of the previous state.
func TestStatesAreSetInOnePlace(t *testing.T) {
	files := sources(t)
	require.Contains(t, slices.Collect(maps.Keys(files)), "status.go")
	for name, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, to := range n.Lhs {
					s, ok := to.(*ast.SelectorExpr)
					assert.False(t, ok && name != "status.go" && (s.Sel.Name == "State" || s.Sel.Name == "Message"), "%s sets %s: use withState", name, "State or Message")
				}
			case *ast.CompositeLit:
				kind, ok := n.Type.(*ast.SelectorExpr)
				assert.False(t, ok && kind.Sel.Name == "Status" && name != "status.go" && len(n.Elts) > 0, "%s makes a status: use withState", name)
			}
			return true
		})
	}
}

// TestInputsAreNotChanged: a decision must not change what it is based on.
func TestInputsAreNotChanged(t *testing.T) {
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
