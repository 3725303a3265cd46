#!/bin/bash
# Is what is generated, copied or formatted up to date? Called by `make verify`.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# check WHAT TO_DO CMD…: CMD prints on standard output what is wrong, nothing if all is well. What it says on standard error
# is shown if it fails, and is no fault of its own: with a bare module cache, go tells there of its downloads.
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
# silent: CMD says something even if all is well.
silent() { local output; output=$("$@" 2>&1) || echo "$output"; }
traefik() { (cd "$1" && go list -m -f "$2" github.com/traefik/traefik/v3); }
same_traefik() {
	local types program
	types=$(traefik . '{{.Version}}') && program=$(traefik e2e/build/traefik '{{.Version}}') || return
	[ "$types" = "$program" ] || echo "its types are of $types, its program is $program"
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

check 'Go files are formatted' 'gofmt -w .' bash -c 'git ls-files "*.go" | xargs gofmt -l'
check "the README's flags, states and events, deep copies and CRDs, the chart's schema and README, the manifests" 'scripts/generate.sh' silent scripts/generate.sh --verify
for module in . e2e e2e/pageserver; do
	check "go.mod of $module is tidy" "cd $module && go mod tidy" env -C "$module" go mod tidy -diff
done
check 'Traefik is one version for its types and its program' 'edit e2e/build/traefik/go.mod' same_traefik
check "Traefik's CRDs are those of that version" 'copy the file anew, see e2e/cluster/traefik/README.md' same_crds
check 'the CRDs of the Gateway API are those that Traefik requires' 'copy the files anew, see e2e/cluster/gatewayapi/README.md' same_gateway_api
exit $failed
