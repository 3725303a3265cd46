#!/usr/bin/env bash
# Builds maintenance-page and benchmarks it against nginx. Arguments go to the bench
# program: --rounds, --duration, --connections, --proxy.
set -euo pipefail
cd "$(dirname "$0")/../../.."
for tool in nginx wrk; do
  command -v "$tool" >/dev/null || PATH=$PATH:/usr/sbin command -v "$tool" >/dev/null || {
    echo "bench-page: $tool is missing; on Debian or Ubuntu: apt-get install nginx wrk" >&2
    exit 1
  }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$work/maintenance-page" ./cmd/maintenance-page
set_name=$(go run ./pages/export "$work/page")
cd e2e/pageserver
go build -o "$work/bench" ./bench
PATH=$PATH:/usr/sbin "$work/bench" --page-binary "$work/maintenance-page" --page-dir "$work/page" --page-set "$set_name" "$@"
