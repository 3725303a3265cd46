#!/bin/bash
# All tests, tier by tier, with a summary at the end. Called by `make test`. With
# CI set, whatever cannot be tested here is a failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

if [ -t 1 ]; then bold=$'\e[1m' off=$'\e[0m'; else bold='' off=''; fi
summary=() failed=0 begin=$SECONDS

# What runs in the background, and the folder of its outcomes.
asides=() aside=$(mktemp -d)
trap 'kill "${asides[@]}" 2>/dev/null; wait; rm -rf "$aside"' EXIT

# What tests have counted. It is outside of their module, or go would not know
# whether to trust a result that it has kept.
export MAINTENANCE_E2E_COUNTS=$PWD/dist/counts
times=$PWD/dist/times
mkdir -p dist && : >"$MAINTENANCE_E2E_COUNTS" && : >"$times"

# tier NAME NOTE CMD…: runs the tests of a tier and notes the outcome.
tier() {
	local name=$1 note=$2 at=$SECONDS outcome=passed
	shift 2
	printf '\n%s── %s%s\n' "$bold" "$name" "$off"
	"$@" || { outcome=FAILED failed=1; }
	summary+=("$(printf '%-16s %-8s %4ss  %s' "$name" "$outcome" $((SECONDS - at)) "$note")")
	[ $outcome = passed ]
}
# beside NAME NOTE CMD…: is tier, in the background; each of its lines begins with its name.
beside() {
	local name=$1 note=$2 at=$SECONDS outcome=passed child
	shift 2
	printf '\n%s── %s, beside what follows%s\n' "$bold" "$name" "$off"
	{
		"$@" > >(sed -u "s/^/$name │ /") 2>&1 &
		child=$!
		trap 'kill "$child"' TERM
		wait "$child" || outcome=FAILED
		printf '%-16s %-8s %4ss  %s\n' "$name" $outcome $((SECONDS - at)) "$note" >"$aside/$name"
	} &
	asides+=($!)
}
# gather waits for all that runs in the background.
gather() {
	local name
	wait "${asides[@]}"
	asides=()
	for name in "$@"; do
		summary+=("$(cat "$aside/$name" || echo "$name FAILED")")
		grep -q ' passed ' "$aside/$name" || failed=1
	done
}
# without NAME WHY: a tier that cannot run here.
without() {
	local outcome=skipped
	if [ -n "${CI:-}" ]; then outcome=FAILED failed=1; fi
	summary+=("$(printf '%-16s %-8s       %s' "$1" "$outcome" "$2")")
}
in_e2e() { (cd e2e && "$@"); }

# tested ARGUMENTS: go test. Vet is a linter's; here it would look at everything a second time.
go -C e2e build -o "$PWD/dist/tests" ./cmd/tests || exit
runner=$PWD/dist/tests
tested() { "$runner" --times "$times" -vet=off -timeout 20m "$@"; }
# raced is tested with the race detector, for code under test that runs in the test's own process, and beside itself.
raced() { CGO_ENABLED=1 tested -race "$@"; }
note='with the race detector'
if ! command -v "$(go env CC)" >/dev/null; then
	raced() { tested "$@"; }
	note='without the race detector, which needs a C compiler'
	[ -z "${CI:-}" ] || without 'race detector' 'needs a C compiler, such as gcc'
fi

# First, and not in a test, where the progress of long builds would not be seen.
built=true
tier 'build' "the cluster's programs, once a version" in_e2e go run ./cmd/cluster build || built=false

# Tests on nodes wait for containers, drains and Leases. Those that run side by side also
# measure how soon visitors follow, which tells of the product only where no compiler
# takes the processors: they come first. Those that take the installation or a node to
# pieces run beside all others, ahead of them, on a cluster of their own.
node() { cd e2e && exec "$runner" --times "$times" --only "$1" -vet=off -timeout 25m ./node; }
scripts() { cd e2e && exec "$runner" --times "$times" -vet=off -timeout 20m "${packages[@]}"; }
backgrounds=()
if ! $built; then
	:
elif [ "$(id -u)" != 0 ] || ! command -v haproxy >/dev/null || ! dpkg -s lua-json >/dev/null 2>&1; then
	without 'node' 'needs root, and apt-get install haproxy lua-json'
else
	tier 'node' 'real nodes, containers, Traefik and HAProxy Ingress' eval '(node parallel)'
	backgrounds+=('node, alone')
	beside 'node, alone' 'the installation, upgrades and drains, and visitors all the while' node alone
fi
renice -n 5 $$ >/dev/null
if $built; then
	mapfile -t packages < <(in_e2e go list ./... | grep -v '/e2e/apiserver\|/e2e/node\|/e2e/dockerfile\|/e2e/frontend')
	backgrounds+=('scripts')
	beside 'scripts' 'scripts, chart and the README on a real API server, and what tests are made of' scripts
fi

# Random objects of all kinds are eight times as slow with the race detector, and planned one at a time.
unit() {
	local all outcome=0
	mapfile -t all < <(go list ./... | grep -v '/pkg/target$')
	raced "${all[@]}" || outcome=1
	tested ./pkg/target || outcome=1
	return $outcome
}
tier 'unit' "$note" unit

missing=()
for command in curl nginx chromium node npm; do
	command -v "$command" >/dev/null || missing+=("$command")
done
if [ ${#missing[@]} = 0 ]; then
	page_server() { env -C e2e/pageserver "$runner" --times "$times" -vet=off -timeout 15m ./... && in_e2e tested ./frontend; }
	tier 'page server' 'curl, grpc-go, Chromium, nginx as a proxy' page_server
else
	without 'page server' "needs ${missing[*]}: apt-get install curl nginx chromium nodejs npm"
fi

if $built; then
	# Its tests wait for the API server most of the time: more of them run than there are processors.
	tier 'API server' "a real API server, $note" in_e2e raced -parallel 6 ./apiserver
	tier 'mutants' 'known faults, each of which must turn its test red' in_e2e go run ./cmd/mutants
	if [ "$(id -u)" != 0 ] || ! command -v buildah >/dev/null || ! dpkg -s busybox-static >/dev/null 2>&1; then
		without 'Dockerfile' 'needs root, and apt-get install buildah busybox-static'
	else
		tier 'Dockerfile' 'built with buildah, the same image as without an engine' in_e2e tested ./dockerfile
	fi
	gather "${backgrounds[@]}"
fi

printf '\n%s── summary, after %ss%s\n' "$bold" $((SECONDS - begin)) "$off"
printf '  %s\n' "${summary[@]}"
if [ -s "$times" ]; then
	printf '\n%s── the ten slowest tests%s\n' "$bold" "$off"
	sort -rn "$times" | head | awk '{ sub(".*/e2e/", "e2e/", $3); sub("maintenance-controller.io/", "", $3); printf "  %6.1fs  %s %s\n", $1, $3, $2 }'
fi
if [ -s "$MAINTENANCE_E2E_COUNTS" ]; then
	printf '\n%s── counted%s (what go had kept of an earlier run is not)\n' "$bold" "$off"
	awk -F= '{ all[$1] += $2 } END { for (name in all) printf "  %-28s %d\n", name, all[name] }' "$MAINTENANCE_E2E_COUNTS" | sort
fi
if [ $failed != 0 ]; then
	echo 'FAILED'
	exit 1
fi
echo 'all passed'
