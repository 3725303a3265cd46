package pkg_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sources calls visit with each Go file of the tree that a person has written.
func sources(t *testing.T, visit func(path string, text []byte)) {
	t.Helper()
	for _, top := range []string{"cmd", "pkg", "pages", "e2e"} {
		require.NoError(t, filepath.WalkDir(filepath.Join("..", top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasPrefix(d.Name(), "zz_generated") {
				return err
			}
			text, err := os.ReadFile(path)
			if err == nil {
				visit(path, text)
			}
			return err
		}))
	}
}

// TestFilesAreShort: a person reads a file in one go.
func TestFilesAreShort(t *testing.T) {
	sources(t, func(path string, text []byte) {
		assert.LessOrEqual(t, bytes.Count(text, []byte("\n")), 400, "%s: split it by subject", path)
	})
}

// TestExportedFieldsAreDocumented: whoever sets a field learns its unit, default and bounds,
// and what zero means, where it is declared: from its own comment, or from one of the type
// or of another field that names it.
func TestExportedFieldsAreDocumented(t *testing.T) {
	// What these are for, their names say.
	obvious := regexp.MustCompile(`^(Kind|Namespace|Name|Client|Dynamic|Discovery|Metadata|Log|Clock)$`)
	sources(t, func(path string, text []byte) {
		if strings.HasSuffix(path, "_test.go") || !strings.HasPrefix(path, "../pkg/") {
			return
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, text, parser.ParseComments)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			decl, is := n.(*ast.GenDecl)
			if !is || decl.Tok != token.TYPE {
				return true
			}
			for _, spec := range decl.Specs {
				spec := spec.(*ast.TypeSpec)
				fields, is := spec.Type.(*ast.StructType)
				if !is || !spec.Name.IsExported() {
					continue
				}
				said := decl.Doc.Text() + spec.Doc.Text()
				for _, field := range fields.Fields.List {
					said += field.Doc.Text() + field.Comment.Text()
				}
				for _, field := range fields.Fields.List {
					for _, name := range field.Names {
						named := regexp.MustCompile(`\b` + name.Name + `\b`).MatchString(said)
						assert.True(t, !name.IsExported() || field.Doc != nil || field.Comment != nil || named || obvious.MatchString(name.Name),
							"%s: %s.%s has no comment", files.Position(name.Pos()), spec.Name.Name, name.Name)
					}
				}
			}
			return true
		})
	})
}
