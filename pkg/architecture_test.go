// Package pkg_test compares the code with docs/architecture.md.
package pkg_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	module   = "maintenance-controller.io/"
	document = "docs/architecture.md"
)

// rows returns the cells of the document's table with this header.
func rows(t *testing.T, header string) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", document))
	require.NoError(t, err)
	_, table, found := strings.Cut(string(text), header+"\n")
	require.True(t, found, "%s has no table %q", document, header)
	var all [][]string
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		if !strings.HasPrefix(line, "|---") {
			all = append(all, strings.Split(strings.Trim(strings.TrimSpace(line), "| "), " | "))
		}
	}
	require.NotEmpty(t, all)
	return all
}

// imports returns the imports of each package of the module, without those of tests.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, top := range []string{"cmd", "pkg", "pages"} {
		require.NoError(t, filepath.WalkDir(filepath.Join("..", top), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			room := filepath.ToSlash(filepath.Dir(strings.TrimPrefix(path, "../")))
			found[room] = append(found[room], "")
			for _, spec := range file.Imports {
				name, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					return err
				}
				found[room] = append(found[room], name)
			}
			return nil
		}))
	}
	return found
}

// TestImportsFollowTheArchitecture checks that every package has a row in the document's table and
// only imports packages of later rows, and that pure rooms import nothing with side effects.
func TestImportsFollowTheArchitecture(t *testing.T) {
	impure := regexp.MustCompile(`^(k8s\.io/client-go|go\.uber\.org/zap|github\.com/prometheus|net/http|os/exec|k8s\.io/utils/clock)(/|$)`)
	var order []string
	pure := map[string]bool{}
	for _, row := range rows(t, "| room | does |") {
		room := strings.Trim(row[0], "`")
		order = append(order, room)
		pure[room] = strings.HasPrefix(row[1], "*pure.*")
	}
	found := imports(t)
	for _, room := range order {
		assert.Contains(t, found, room, "%s has a row for a package that does not exist", document)
	}
	for room, all := range found {
		at := slices.Index(order, room)
		if !assert.GreaterOrEqual(t, at, 0, "%s has no row for %s: add one above all packages that it imports", document, room) {
			continue
		}
		for _, name := range all {
			if own, is := strings.CutPrefix(name, module); is {
				assert.Greater(t, slices.Index(order, own), at, "%s imports %s, which must be in a later row of %s", room, own, document)
			}
			assert.False(t, pure[room] && impure.MatchString(name), "%s is a pure room but imports %s", room, name)
		}
	}
}

// TestWhereToChangeTable checks that each file in the table exists and contains the word to look for.
func TestWhereToChangeTable(t *testing.T) {
	answers := rows(t, "| question | file | look for |")
	assert.GreaterOrEqual(t, len(answers), 8)
	for _, row := range answers {
		require.Len(t, row, 3)
		text, err := os.ReadFile(filepath.Join("..", strings.Trim(row[1], "`")))
		if assert.NoError(t, err, row[0]) {
			word := regexp.MustCompile(`\b` + regexp.QuoteMeta(strings.Trim(row[2], "`")) + `\b`)
			assert.True(t, word.Match(text), "%s: %s does not contain %s", row[0], row[1], row[2])
		}
	}
}

// TestPartsDoNotEmbedTheirOwner: parts of a controller that embed it can reach everything, so that
// they are not separate parts.
func TestPartsDoNotEmbedTheirOwner(t *testing.T) {
	embedded := regexp.MustCompile(`(?m)^\t\*?(?:[a-z]+\.)?(Controller|Config|Manager|Restorer)$`)
	require.NoError(t, filepath.WalkDir("controller", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		assert.False(t, embedded.Match(text), path)
		return err
	}))
}
