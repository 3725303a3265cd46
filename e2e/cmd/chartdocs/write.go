package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (v *values) writeSchema(out io.Writer) error {
	schema := v.root.toSchema()
	schema["$schema"] = "http://json-schema.org/draft-07/schema#"
	schema["title"] = "Values of maintenance-controller"
	schema["definitions"] = v.definitions
	// Helm adds this key to the values of every chart.
	schema["properties"].(map[string]any)["global"] = map[string]any{"type": "object"} //nolint:forcetypeassert // made below
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(schema)
}

// toSchema returns the schema that follows from the value's default, plus that of the comment. An
// empty map is free-form; any other map allows only its own keys.
func (v *value) toSchema() map[string]any {
	schema := map[string]any{}
	if v.schema["$ref"] == nil && v.schema["enum"] == nil {
		schema["type"] = typeOf(v.node)
	}
	if v.description != "" {
		schema["description"] = v.description
	}
	if len(v.children) > 0 {
		properties := map[string]any{}
		var required []string
		for _, child := range v.children {
			properties[child.name] = child.toSchema()
			if child.required() {
				required = append(required, child.name)
			}
		}
		schema["properties"], schema["additionalProperties"] = properties, false
		if len(required) > 0 {
			schema["required"] = required
		}
	}
	maps.Copy(schema, v.schema)
	return schema
}

// required reports whether users must not set the value to null, which makes Helm drop the key
// without checking its schema. This holds for maps that templates read, for booleans, and for
// values with a minimum.
func (v *value) required() bool {
	minimum, has := v.schema["minimum"].(int)
	return len(v.children) > 0 || typeOf(v.node) == "boolean" || v.schema["minItems"] != nil || v.schema["minLength"] != nil ||
		has && minimum > 0 && v.node.Tag != "!!null"
}

func typeOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "object"
	case n.Kind == yaml.SequenceNode:
		return "array"
	case n.Tag == "!!int":
		return "integer"
	case n.Tag == "!!bool":
		return "boolean"
	}
	return "string"
}

// writeTables writes a table for each section with a row for each value.
func (v *values) writeTables(out io.Writer) error {
	var b strings.Builder
	sections := v.sections
	for _, child := range v.root.children {
		if len(sections) > 0 && sections[0].line < child.line {
			fmt.Fprintf(&b, "\n### %s\n\n| value | default | meaning |\n|---|---|---|\n", sections[0].title)
			sections = sections[1:]
		}
		child.writeRows(&b)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (v *value) writeRows(b *strings.Builder) {
	if len(v.children) == 0 {
		fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", v.path, v.shown(), escape(v.description))
		return
	}
	if v.description != "" {
		fmt.Fprintf(b, "| `%s` | | %s |\n", v.path, escape(v.description))
	}
	for _, child := range v.children {
		child.writeRows(b)
	}
}

// shown returns the default on one line.
func (v *value) shown() string {
	var plain any
	if err := v.node.Decode(&plain); err != nil {
		return v.node.Value
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(plain); err != nil {
		return v.node.Value
	}
	return escape(strings.TrimSpace(text.String()))
}

func escape(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
