#!/bin/bash
# Runs all tests, tier by tier, and prints a summary. Called by `make test`. With CI
# set, a tier that cannot run here is a failure.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

if [ -t 1 ]; then bold=$'\e[1m' off=$'\e[0m'; else bold='' off=''; fi
summary=() failed=0 begin=$SECONDS

# The tiers in the background, and the folder that they write their summary lines to.
pids=() outcomes=$(mktemp -d)
trap 'kill "${pids[@]}" 2>/dev/null; wait; rm -rf "$outcomes"' EXIT

# Where tests write their counts. The file is outside of their module: with a changed
# file inside it, go would not use a cached result.
export MAINTENANCE_E2E_COUNTS=$PWD/dist/counts
times=$PWD/dist/times
mkdir -p dist && : >"$MAINTENANCE_E2E_COUNTS" && : >"$times"

# tier NAME NOTE CMD…: runs a tier's tests and adds the outcome to the summary.
tier() {
	local name=$1 note=$2 at=$SECONDS outcome=passed
	shift 2
	printf '\n%s── %s%s\n' "$bold" "$name" "$off"
	"$@" || { outcome=FAILED failed=1; }
	summary+=("$(printf '%-16s %-8s %4ss  %s' "$name" "$outcome" $((SECONDS - at)) "$note")")
	[ $outcome = passed ]
}
# in_background NAME NOTE CMD…: like tier, but returns at once. Each line of output begins with the tier's name.
in_background() {
	local name=$1 note=$2 at=$SECONDS outcome=passed child
	shift 2
	printf '\n%s── %s, in the background%s\n' "$bold" "$name" "$off"
	{
		"$@" > >(sed -u "s/^/$name │ /") 2>&1 &
		child=$!
		trap 'kill "$child"' TERM
		wait "$child" || outcome=FAILED
		printf '%-16s %-8s %4ss  %s\n' "$name" $outcome $((SECONDS - at)) "$note" >"$outcomes/$name"
	} &
	pids+=($!)
}
# wait_for NAME…: waits for these tiers in the background and adds their outcomes to the summary.
wait_for() {
	local name
	wait "${pids[@]}"
	pids=()
	for name in "$@"; do
		summary+=("$(cat "$outcomes/$name" || echo "$name FAILED")")
		grep -q ' passed ' "$outcomes/$name" || failed=1
	done
}
# skip NAME WHY: notes that a tier cannot run here.
skip() {
	local outcome=skipped
	if [ -n "${CI:-}" ]; then outcome=FAILED failed=1; fi
	summary+=("$(printf '%-16s %-8s       %s' "$1" "$outcome" "$2")")
}
in_e2e() { (cd e2e && "$@"); }

# The end of a run that hangs: several times what the longest tier takes on a slow machine.
hang=60m

# run_tests ARGUMENTS: go test, without vet, which `make lint` runs.
go -C e2e build -o "$PWD/dist/tests" ./cmd/tests || exit
runner=$PWD/dist/tests
run_tests() { "$runner" --times "$times" -vet=off -timeout $hang "$@"; }
# run_tests_with_race adds the race detector, where the code under test runs in the test's own process.
run_tests_with_race() { CGO_ENABLED=1 run_tests -race "$@"; }
note='with the race detector'
if ! command -v "$(go env CC)" >/dev/null; then
	run_tests_with_race() { run_tests "$@"; }
	note='without the race detector: it needs a C compiler, such as gcc'
	[ -z "${CI:-}" ] || skip 'race detector' 'needs a C compiler, such as gcc'
fi

# Before all tests, whose output would hide the progress of long builds.
built=true
tier 'build' "the local cluster's programs, built once per version" in_e2e go run ./cmd/programs tests || built=false

# Tests on nodes wait for containers, drains and Leases. The parallel ones, and those marked to
# run before them, also measure how soon visitors see a switch, so they come first, while no
# compiler needs the processors. The serial ones change the installation or drain nodes: they
# run on a cluster of their own, in the background of all tiers that follow.
node() { cd e2e && exec "$runner" --times "$times" --only "$1" -vet=off -timeout $hang ./node; }
scripts() { cd e2e && exec "$runner" --times "$times" -vet=off -timeout $hang "${packages[@]}"; }
backgrounds=()
if ! $built; then
	:
elif [ "$(id -u)" != 0 ] || ! command -v haproxy >/dev/null || ! dpkg -s lua-json >/dev/null 2>&1; then
	skip 'node' 'needs root, and apt-get install haproxy lua-json'
else
	tier 'node, parallel' 'visitors during maintenance, on nodes with Traefik and HAProxy Ingress' eval '(node parallel)'
	backgrounds+=('node, serial')
	in_background 'node, serial' 'visitors during installs, upgrades, drains and crashes' node serial
fi
renice -n 5 $$ >/dev/null
if $built; then
	mapfile -t packages < <(in_e2e go list ./... | grep -v '/e2e/apiserver\|/e2e/node\|/e2e/dockerfile\|/e2e/frontend')
	backgrounds+=('scripts')
	in_background 'scripts' 'scripts, chart and documented commands on an API server, and the test tools' scripts
fi

# pkg/target runs without the race detector: it plans random objects in one goroutine, and would take eight times as long.
unit() {
	local all outcome=0
	mapfile -t all < <(go list ./... | grep -v '/pkg/target$')
	run_tests_with_race "${all[@]}" || outcome=1
	run_tests ./pkg/target || outcome=1
	return $outcome
}
tier 'unit' "$note" unit

missing=()
for command in curl nginx chromium node npm; do
	command -v "$command" >/dev/null || missing+=("$command")
done
if [ ${#missing[@]} = 0 ]; then
	page_server() { env -C e2e/pageserver "$runner" --times "$times" -vet=off -timeout $hang ./... && in_e2e run_tests ./frontend; }
	tier 'page server' 'maintenance-page with curl, gRPC, Chromium, and behind nginx' page_server
else
	skip 'page server' "needs ${missing[*]}: apt-get install curl nginx chromium nodejs npm"
fi

if $built; then
	# These tests mostly wait for the API server, so more of them run at once than there are processors.
	tier 'API server' "the controller on an API server, $note" in_e2e run_tests_with_race -parallel 6 ./apiserver
	tier 'mutants' 'known faults: each must make its test fail' in_e2e go run ./cmd/mutants
	if [ "$(id -u)" != 0 ] || ! command -v buildah >/dev/null || ! dpkg -s busybox-static >/dev/null 2>&1; then
		skip 'Dockerfile' 'needs root, and apt-get install buildah busybox-static'
	else
		tier 'Dockerfile' 'builds the same image with buildah as without a container engine' in_e2e run_tests ./dockerfile
	fi
	wait_for "${backgrounds[@]}"
fi

printf '\n%s── summary, after %ss%s\n' "$bold" $((SECONDS - begin)) "$off"
printf '  %s\n' "${summary[@]}"
if [ -s "$times" ]; then
	printf '\n%s── the ten slowest tests%s\n' "$bold" "$off"
	sort -rn "$times" | head | awk '{ sub(".*/e2e/", "e2e/", $3); sub("maintenance-controller.io/", "", $3); printf "  %6.1fs  %s %s\n", $1, $3, $2 }'
fi
if [ -s "$MAINTENANCE_E2E_COUNTS" ]; then
	printf '\n%s── counts of this run%s (tests with cached results are not counted)\n' "$bold" "$off"
	awk -F= '{ all[$1] += $2 } END { for (name in all) printf "  %-28s %d\n", name, all[name] }' "$MAINTENANCE_E2E_COUNTS" | sort
fi
if [ $failed != 0 ]; then
	awk '$4 { print "  " $4 ": " $3 " " $2 }' "$times"
	echo 'FAILED'
	exit 1
fi
echo 'all passed'
