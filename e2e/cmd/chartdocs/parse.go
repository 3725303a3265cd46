package main

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"maintenance-controller.io/pkg/target"
)

// values is a parsed values file: the tree of its keys, and the definitions and sections in its comments.
type values struct {
	root        *value
	definitions map[string]any
	sections    []section
}

// value is a key of the file.
type value struct {
	path        string // for example image.tag
	name        string
	description string
	schema      map[string]any // from the comment
	node        *yaml.Node
	children    []*value
	line        int
}

// section is a section of the tables, which starts at a line of the file.
type section struct {
	title string
	line  int
}

var define = regexp.MustCompile(`^@define (\w+) (\{.*\})$`)

// parse reads a values file with its comments.
func parse(text []byte) (*values, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	lines := strings.Split(string(text), "\n")
	v := &values{definitions: map[string]any{"kind": map[string]any{"enum": kinds()}}, root: &value{node: document.Content[0]}}
	for i, line := range lines {
		comment := strings.TrimSpace(strings.TrimPrefix(line, "#"))
		if title, ok := strings.CutPrefix(line, "## "); ok {
			v.sections = append(v.sections, section{title, i + 1})
		} else if m := define.FindStringSubmatch(comment); m != nil {
			schema, err := flow(m[2])
			if err != nil {
				return nil, fmt.Errorf("line %d: @define %s: %w", i+1, m[1], err)
			}
			v.definitions[m[1]] = schema
		}
	}
	return v, v.root.addChildren(lines)
}

// addChildren adds the keys of a map, with their comments and children.
func (v *value) addChildren(lines []string) error {
	if v.node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i < len(v.node.Content); i += 2 {
		key := v.node.Content[i]
		child := &value{name: key.Value, path: strings.TrimPrefix(v.path+"."+key.Value, "."), node: v.node.Content[i+1], line: key.Line}
		if err := child.readComment(lines); err != nil {
			return fmt.Errorf("line %d: %s: %w", key.Line, child.path, err)
		}
		// A free-form map, such as resources, counts as one value.
		if child.schema["additionalProperties"] == nil && child.schema["$ref"] == nil {
			if err := child.addChildren(lines); err != nil {
				return err
			}
		}
		v.children = append(v.children, child)
	}
	return nil
}

// readComment reads the comment lines right above the key.
func (v *value) readComment(lines []string) error {
	first := v.line - 1
	for first > 0 && strings.HasPrefix(strings.TrimSpace(lines[first-1]), "#") {
		first--
	}
	var words []string
	for _, line := range lines[first : v.line-1] {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#"))
		rest, is := strings.CutPrefix(line, "@schema ")
		if !is {
			words = append(words, line)
			continue
		}
		schema, err := flow(rest)
		if err != nil {
			return fmt.Errorf("@schema: %w", err)
		}
		v.schema = schema
	}
	v.description = strings.ReplaceAll(strings.Join(words, " "), "{kinds}", strings.Join(kinds(), ", "))
	return nil
}

// flow parses a flow mapping of YAML.
func flow(text string) (schema map[string]any, err error) {
	return schema, yaml.Unmarshal([]byte(text), &schema)
}

// kinds returns the names of the target kinds: comments refer to them by {kinds}, and schemas by the
// definition kind.
func kinds() []string {
	var names []string
	for _, k := range target.Kinds() {
		names = append(names, k.Name)
	}
	return names
}
