#!/bin/bash
# Measures how fast the ingress controllers of the local cluster follow a switch, and writes the table in docs/gateway-api.md.
# Needs root and takes about six minutes. Called by `make matrix`.
set -euo pipefail
cd "$(dirname "$0")/.."
doc=docs/gateway-api.md
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd e2e && go test ./node/ -count=1 -timeout 30m -run '^TestDataPlanes$' -args -matrix="$work/rows")
{
	echo
	echo '| data plane | version | kind | wrong answers | first page after | last app after |'
	echo '|---|---|---|---|---|---|'
	sort "$work/rows"
	echo
} >"$work/table"
awk -v table="$work/table" '
	/^<!-- end of matrix -->$/ { skip = 0 }
	!skip { print }
	/^<!-- matrix: / { skip = 1; while ((getline line < table) > 0) print line }
' "$doc" >"$work/doc"
cat "$work/doc" >"$doc"
