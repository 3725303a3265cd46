#!/bin/bash
# Checks that generated, copied and formatted files are up to date. Called by `make verify`. With the argument `modules` it only
# checks what go.mod files say, which compiles nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# check WHAT FIX CMD…: passes if CMD succeeds and prints nothing on standard output. Output on standard error is shown only if
# CMD fails: with an empty module cache, go reports its downloads there.
check() {
	local what=$1 remedy=$2 output failure=0
	shift 2
	output=$("$@" 2>"$log") || failure=$?
	if [ $failure = 0 ] && [ -z "$output" ]; then
		echo "ok    $what"
		return
	fi
	printf 'STALE %s (%s)\n%s\n' "$what" "$remedy" "$output"
	[ $failure = 0 ] || cat "$log"
	failed=1
}
# only_failures CMD…: prints CMD's output only if it fails.
only_failures() { local output; output=$("$@" 2>&1) || echo "$output"; }
traefik() { (cd "$1" && go list -m -f "$2" github.com/traefik/traefik/v3); }
same_traefik() {
	local types program
	types=$(traefik . '{{.Version}}') && program=$(traefik e2e/build/traefik '{{.Version}}') || return
	[ "$types" = "$program" ] || echo "go.mod has $types, e2e/build/traefik/go.mod has $program"
}
same_crds() {
	local dir
	(cd e2e/build/traefik && go mod download github.com/traefik/traefik/v3) && dir=$(traefik e2e/build/traefik '{{.Dir}}') || return
	diff -q "$dir/docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml" e2e/cluster/traefik/crds.yaml
}

same_gateway_api() {
	local dir file
	(cd e2e/build/traefik && go mod download sigs.k8s.io/gateway-api) && dir=$(cd e2e/build/traefik && go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api) || return
	for file in "$dir"/config/crd/standard/gateway.networking*.yaml; do echo --- && cat "$file"; done | diff -q - e2e/cluster/gatewayapi/crds.yaml
}

if [ "${1:-}" != modules ]; then
	check 'Go files are formatted' 'gofmt -w .' bash -c 'git ls-files "*.go" | xargs gofmt -l'
	check "generated: flags, states and events in the documents, deep copies, CRDs, the chart's schema and README, manifests" 'scripts/generate.sh' only_failures scripts/generate.sh --verify
fi
for module in . e2e e2e/pageserver; do
	check "go.mod of $module is tidy" "cd $module && go mod tidy" env -C "$module" go mod tidy -diff
done
check "Traefik's types and program have the same version" 'edit e2e/build/traefik/go.mod' same_traefik
check "Traefik's CRDs have the same version" 'copy the file again: see e2e/cluster/traefik/README.md' same_crds
check 'the Gateway API CRDs are those that Traefik requires' 'copy the files again: see e2e/cluster/gatewayapi/README.md' same_gateway_api
exit $failed
