package scripts

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// documents returns the paths of all documents, relative to the top of the source tree.
func documents(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(root(t), "docs", "*.md"))
	require.NoError(t, err)
	for i, path := range all {
		all[i] = filepath.Join("docs", filepath.Base(path))
	}
	return append(all, "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "deploy/chart/README.md", "pages/README.md")
}

func read(t *testing.T, document string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), document))
	require.NoError(t, err)
	return string(text)
}

// TestReadmeIsShort bounds the README to what can be read in ten minutes; the rest is in docs.
func TestReadmeIsShort(t *testing.T) {
	assert.LessOrEqual(t, strings.Count(read(t, "README.md"), "\n"), 250)
}

// TestStatesAreTheSame: the README and the help of maintenance_targets name the states of the generated table.
func TestStatesAreTheSame(t *testing.T) {
	reference := read(t, "docs/reference.md")
	states := statesIn(t, reference)
	assert.Greater(t, len(states), 1)
	assert.ElementsMatch(t, states, statesIn(t, read(t, "README.md")))
	_, help, found := strings.Cut(reference, "`maintenance_targets{kind,state}`")
	require.True(t, found)
	help, _, _ = strings.Cut(help, "\n")
	_, list, _ := strings.Cut(help, "by kind and state (")
	list, _, _ = strings.Cut(list, ")")
	assert.ElementsMatch(t, states, append(strings.Split(list, ", "), "absent"))
}

// statesIn returns the first column of a document's table of states.
func statesIn(t *testing.T, document string) []string {
	t.Helper()
	_, table, found := strings.Cut(document, "state` | visitors get | meaning |\n|---|---|---|\n")
	if !found {
		_, table, found = strings.Cut(document, "| state | visitors get | meaning |\n|---|---|---|\n")
	}
	require.True(t, found)
	var states []string
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			break
		}
		states = append(states, strings.Trim(cells[1], " `"))
	}
	return states
}

// TestEveryDocumentIsLinked checks that links lead from the README to every document.
func TestEveryDocumentIsLinked(t *testing.T) {
	reached, queue := map[string]bool{}, []string{"README.md"}
	for len(queue) > 0 {
		document := queue[0]
		queue = queue[1:]
		if reached[document] {
			continue
		}
		reached[document] = true
		for _, link := range links(read(t, document)) {
			file, _, _ := strings.Cut(link, "#")
			if strings.HasSuffix(file, ".md") && !strings.Contains(file, "://") {
				queue = append(queue, filepath.Join(filepath.Dir(document), file))
			}
		}
	}
	for _, document := range documents(t) {
		assert.True(t, reached[document], "no link leads from the README to %s", document)
	}
}

// links returns the targets of a document's links.
func links(text string) (all []string) {
	for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(text, -1) {
		all = append(all, link[1])
	}
	return all
}

// TestDocumentsNameWhatExists checks that links of documents lead to existing files and sections,
// that cited tests exist, and that those in tables of promises are in the folder named before them.
func TestDocumentsNameWhatExists(t *testing.T) {
	top := root(t)
	tests, within := map[string]bool{}, map[string]bool{}
	require.NoError(t, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
			folder, err := filepath.Rel(top, filepath.Dir(path))
			require.NoError(t, err)
			within[folder+" "+m[1]] = true
		}
		return err
	}))
	for _, document := range documents(t) {
		raw := read(t, document)
		for _, name := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(raw, -1) {
			assert.True(t, tests[name[1]], "%s cites the test %s, which does not exist", document, name[1])
		}
		for _, cited := range promised(raw) {
			assert.True(t, within[cited], "%s cites a test in a folder that does not have it: %s", document, cited)
		}
		for _, link := range links(raw) {
			file, section, _ := strings.Cut(link, "#")
			if strings.Contains(file, "://") {
				continue
			}
			path := filepath.Join(top, filepath.Dir(document), file)
			if file == "" {
				path = filepath.Join(top, document)
			}
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				continue
			}
			text, err := os.ReadFile(path)
			if assert.NoError(t, err, "%s links to %s, which does not exist", document, link) && section != "" {
				assert.True(t, sections(string(text))[section], "%s links to %s, which does not exist", document, link)
			}
		}
	}
}

// promised returns the folder and the name of each test in the tables of promises.
func promised(text string) (all []string) {
	tables := strings.Split(text, "| promise | proved by |")
	for _, table := range tables[1:] {
		for row := range strings.Lines(table) {
			if row = strings.TrimSpace(row); row == "" {
				continue
			}
			if !strings.HasPrefix(row, "|") {
				break
			}
			folder := "no folder"
			for _, word := range regexp.MustCompile("`([^`]+)`(:?)").FindAllStringSubmatch(row[strings.LastIndex(strings.TrimSuffix(row, "|"), "|"):], -1) {
				if word[2] == ":" {
					folder = word[1]
				} else if strings.HasPrefix(word[1], "Test") {
					all = append(all, folder+" "+word[1])
				}
			}
		}
	}
	return all
}

// sections returns the anchors of a document's headings in GitHub's form.
func sections(text string) map[string]bool {
	all := map[string]bool{}
	text = regexp.MustCompile("(?ms)^ *```.*?^ *```").ReplaceAllString(text, "")
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		anchor := strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")
		all[regexp.MustCompile(`[^\w-]`).ReplaceAllString(anchor, "")] = true
	}
	return all
}
