package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const sample = `# Values.
#
# @define size {type: integer, maximum: 3}

## First

# How many,
# as a number
# @schema {$ref: "#/definitions/size"}
count: 1
group:
  # On or | off
  on: true
  free: {}

## Second

# Given whole
# @schema {additionalProperties: true}
resources: {cpu: "1"}
list: [a]
# Kinds: {kinds}
# @schema {minItems: 1, items: {$ref: "#/definitions/kind"}}
least: [a]
`

func TestSchemaAndTables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "values.yaml")
	require.NoError(t, os.WriteFile(file, []byte(sample), 0o600))
	var schema, table strings.Builder
	require.NoError(t, run([]string{"schema", file}, &schema))
	assert.JSONEq(t, `{
		"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of maintenance-controller",
		"definitions": {"size": {"type": "integer", "maximum": 3}, "kind": {"enum": ["`+strings.Join(kinds(), `", "`)+`"]}},
		"type": "object", "additionalProperties": false, "required": ["group", "least"],
		"properties": {
			"global": {"type": "object"},
			"count": {"$ref": "#/definitions/size", "description": "How many, as a number"},
			"group": {"type": "object", "additionalProperties": false, "required": ["on"], "properties": {
				"on": {"type": "boolean", "description": "On or | off"},
				"free": {"type": "object"}
			}},
			"resources": {"type": "object", "additionalProperties": true, "description": "Given whole"},
			"list": {"type": "array"},
			"least": {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/kind"}, "description": "Kinds: `+strings.Join(kinds(), ", ")+`"}
		}
	}`, schema.String())
	require.NoError(t, run([]string{"table", file}, &table))
	const head = "| value | default | meaning |\n|---|---|---|\n"
	assert.Equal(t, "\n### First\n\n"+head+
		"| `count` | `1` | How many, as a number |\n| `group.on` | `true` | On or \\| off |\n| `group.free` | `{}` |  |\n"+
		"\n### Second\n\n"+head+
		"| `resources` | `{\"cpu\":\"1\"}` | Given whole |\n| `list` | `[\"a\"]` |  |\n| `least` | `[\"a\"]` | Kinds: "+strings.Join(kinds(), ", ")+" |\n", table.String())
}

func TestErrorsNameTheirPlace(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"a schema":     {"a:\n  # @schema {type\n  b: 1\n", "line 3: a.b: @schema"},
		"a definition": {"# @define x {type: [}\na: 1\n", "line 1: @define x"},
		"no YAML":      {"a: [", "yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "values.yaml")
			require.NoError(t, os.WriteFile(file, []byte(tt.text), 0o600))
			assert.ErrorContains(t, run([]string{"schema", file}, &strings.Builder{}), tt.want)
		})
	}
	assert.ErrorContains(t, run([]string{"schema"}, &strings.Builder{}), "usage")
}
