package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The values of --only.
const (
	serial   = "serial"   // tests that must run alone
	parallel = "parallel" // tests that call t.Parallel, and those that are marked
)

// mark is a comment on a test that does not call t.Parallel, but is to run in one go with those
// that do: go test runs it alone, before them.
const mark = "//tests:before-parallel"

// declared are the tests in the source, by package and name. The value says whether the test is
// parallel or marked.
type declared map[string]map[string]bool

// declares finds the tests in the source of the packages in the arguments. `go test -list` would
// have to compile them first.
func declares(ctx context.Context, args []string) (declared, error) {
	var packages []string
	for _, arg := range args {
		if strings.HasPrefix(arg, ".") || strings.Contains(arg, "/") && !strings.HasPrefix(arg, "-") {
			packages = append(packages, arg)
		}
	}
	out, err := exec.CommandContext(ctx, "go", append([]string{"list", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles"}, packages...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("list the tests: %w", err)
	}
	all := declared{}
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			ImportPath, Dir           string
			TestGoFiles, XTestGoFiles []string
		}
		if err := d.Decode(&p); err != nil {
			return nil, fmt.Errorf("list the tests: %w", err)
		}
		all[p.ImportPath] = map[string]bool{}
		for _, name := range append(p.TestGoFiles, p.XTestGoFiles...) {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution|parser.ParseComments)
			if err != nil {
				return nil, fmt.Errorf("list the tests: %w", err)
			}
			all.add(p.ImportPath, file)
		}
	}
	return all, nil
}

var isTest = regexp.MustCompile(`^(Test|Fuzz)([A-Z_]|$)|^Example`)

func (d declared) add(pkg string, file *ast.File) {
	for _, declaration := range file.Decls {
		if f, is := declaration.(*ast.FuncDecl); is && f.Recv == nil && f.Name.Name != "TestMain" && isTest.MatchString(f.Name.Name) {
			d[pkg][f.Name.Name] = slices.ContainsFunc(f.Body.List, saysParallel) || marked(f.Doc)
		}
	}
}

func marked(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return c.Text == mark })
}

// saysParallel reports whether a statement is a call of Parallel. Calls within subtests are not
// statements of the test itself.
func saysParallel(s ast.Stmt) bool {
	statement, is := s.(*ast.ExprStmt)
	if !is {
		return false
	}
	call, is := statement.X.(*ast.CallExpr)
	if !is {
		return false
	}
	method, is := call.Fun.(*ast.SelectorExpr)
	return is && method.Sel.Name == "Parallel"
}

// only keeps the serial or the parallel tests.
func (d declared) only(which string) {
	for _, tests := range d {
		maps.DeleteFunc(tests, func(_ string, p bool) bool { return p != (which == parallel) })
	}
}

// pattern returns the -run pattern that matches just these tests.
func (d declared) pattern() string {
	var names []string
	for _, tests := range d {
		names = slices.AppendSeq(names, maps.Keys(tests))
	}
	slices.Sort(names)
	return "^(" + strings.Join(slices.Compact(names), "|") + ")$"
}

// count returns the number of tests by package.
func (d declared) count() map[string]int {
	n := map[string]int{}
	for pkg, tests := range d {
		n[pkg] = len(tests)
	}
	return n
}
