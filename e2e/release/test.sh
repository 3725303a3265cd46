#!/bin/bash
# Builds the release artefacts with goreleaser (except what needs a tag or a container engine) and installs them on a local
# cluster, so that the test covers what people download. Called by `make release-snapshot`; needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
fail() { echo "release: $*" >&2; exit 1; }
say() { printf '── %s\n' "$*"; }
cluster() { go -C "$root/e2e" run ./cmd/cluster "$@"; }
image() { go -C "$root/e2e" run ./cmd/image "$@"; }
tool() { go -C "$root/e2e" run ./cmd/programs tool "$1"; }
goreleaser=$(tool goreleaser) helm=$(tool helm) kubectl=$(tool kubectl)

work=$(mktemp -d)
finish() {
	local code=$?
	if [ $code != 0 ] && [ -e "$work/state/kubeconfig" ]; then KUBECONFIG=$work/state/kubeconfig "$kubectl" get pods,ingresses,events -A || true; fi
	cluster down --dir "$work/state" || true
	rm -rf "$work"
	exit $code
}
trap finish EXIT

say 'goreleaser release --snapshot, on a copy of this tree'
mkdir "$work/tree"
git ls-files -co --exclude-standard -z | tar --null --ignore-failed-read -T - -c 2>/dev/null | tar -x -C "$work/tree"
cd "$work/tree"
git init -q
git remote add origin https://github.com/example/maintenance-controller.git # goreleaser requires a remote, but does not connect to it
git add -A
git -c user.name=release -c user.email=release@localhost commit -qm snapshot
# This registry is never contacted: the image is loaded into the nodes.
export IMAGE=registry.example/maintenance-controller
"$goreleaser" check
"$goreleaser" release --snapshot --clean

version=$(sed -n 's/.*"version":"\([^"]*\)".*/\1/p' dist/metadata.json)
[ -n "$version" ] || fail 'dist/metadata.json names no version'
say "the artefacts of $version"
(cd dist && cp ../build/release/* . && sha256sum --check --strict checksums.txt)
case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) fail "no archive for $(uname -m)" ;; esac
for os_arch in linux_amd64 linux_arm64 darwin_arm64; do
	tar -tzf "dist/maintenance-controller_${version}_$os_arch.tar.gz" | sort | paste -sd' '
done
mkdir "$work/programs"
tar -xzf "dist/maintenance-controller_${version}_linux_$arch.tar.gz" -C "$work/programs"
say 'the plugin, as krew would install it'
(cd dist && sha256sum --check --strict --quiet checksums.txt)
scripts/krew.sh "$version" https://example.com/maintenance-controller/releases/download/v"$version" dist/checksums.txt >"$work/maintenance.yaml"
platforms=0
while read -r uri sum; do
	archive=dist/${uri##*/}
	[ "$(sha256sum "$archive" | cut -d' ' -f1)" = "$sum" ] || fail "the krew manifest has a different checksum for $archive"
	tar -tzf "$archive" | sort | paste -sd' '
	tar -tzf "$archive" | grep -qxE 'kubectl-maintenance(\.exe)?' || fail "$archive has no plugin"
	platforms=$((platforms + 1))
done < <(awk '$1 == "uri:" { uri = $2 } $1 == "sha256:" { print uri, $2 }' "$work/maintenance.yaml")
[ $platforms = 6 ] || fail "the krew manifest has $platforms platforms, want 6"
tar -xzf "dist/kubectl-maintenance_${version}_linux_$arch.tar.gz" -C "$work/programs"
! ldd "$work/programs/kubectl-maintenance" 2>/dev/null || fail 'the plugin is not statically linked'
"$work/programs/kubectl-maintenance" version | tee "$work/said"
grep -qF "v$version (commit $(git rev-parse HEAD)" "$work/said" || fail 'kubectl-maintenance version does not print the version and commit'
for program in maintenance-controller maintenance-page; do
	"$work/programs/$program" --version | tee "$work/said"
	grep -qF "v$version (commit $(git rev-parse HEAD), built $(TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%d)" "$work/said" || fail "$program --version does not print the version, commit and date"
done

say 'install with Helm, with a page from values'
image=$IMAGE:v$version
cd "$root"
image --name "$image" --out "$work/image.tar" "$work/programs/maintenance-controller" "$work/programs/maintenance-page" >/dev/null
CGO_ENABLED=0 go -C e2e build -trimpath -buildvcs=false -ldflags '-s -w' -o "$work/sample-app" ./sampleapp
image --name sample-app:dev --out "$work/sample-app.tar" "$work/sample-app" >/dev/null
cluster up --dir "$work/state"
cluster load --dir "$work/state" "$work/image.tar" "$work/sample-app.tar"
export KUBECONFIG=$work/state/kubeconfig PATH=${kubectl%/*}:${helm%/*}:$PATH
mkdir "$work/releases"
mv "$work/tree/dist" "$work/releases/v$version"
install() { env -u IMAGE RELEASES="$work/releases" VERSION="v$version" scripts/quick-install.sh "$@"; }
# visitors WHAT PATTERN: waits until the answer matches. Not with curl --retry, which retries on 503.
visitors() {
	for _ in $(seq 600); do
		curl -si --max-time 10 --noproxy '*' http://my-app.localhost:8081/ >"$work/answer" || true
		if grep -qi -- "$2" "$work/answer"; then
			echo "visitors get $1: $(head -1 "$work/answer")"
			return
		fi
		sleep 0.1
	done
	fail "visitors do not get $1 but: $(head -5 "$work/answer")"
}
in_maintenance() { kubectl wait --timeout=2m '--for=jsonpath={.metadata.annotations.maintenance/state}=active' ingress/my-app; }

install -- --values e2e/demo/values.yaml
[ "$(kubectl -n maintenance-system get deployment maintenance-controller -o jsonpath='{.spec.template.spec.containers[0].image}')" = "$image" ] ||
	fail "the release's chart does not name the release's image"
kubectl apply -f e2e/demo/apps.yaml
kubectl wait --for=condition=Available --timeout=2m deployment --all
visitors 'the app' '^HTTP/1.1 200'
kubectl get ingress my-app -o jsonpath='{.spec}' >"$work/before"
kubectl annotate ingress my-app maintenance/enabled=true maintenance/custom-page=spring
in_maintenance
PATH=$work/programs:$PATH kubectl maintenance status | tee "$work/said"
grep -qE '^ingress/my-app +active .* spring ' "$work/said" || fail 'kubectl maintenance status does not list ingress/my-app'
visitors 'the page from values' 'Spring cleaning'

say 'helm uninstall during maintenance'
helm uninstall maintenance-controller --namespace maintenance-system --timeout 5m --wait
visitors 'the app' '^HTTP/1.1 200'
kubectl get ingress my-app -o jsonpath='{.spec}' | cmp - "$work/before" || fail 'the Ingress differs from before'

say 'install by manifest: what is still annotated goes into maintenance again'
kubectl annotate ingress my-app maintenance/custom-page-
install --manifests
in_maintenance
visitors 'a page' '^Maintenance-Page-Set: '
scripts/uninstall.sh --yes --remove-annotations --remove-namespace
visitors 'the app' '^HTTP/1.1 200'
kubectl get ingress my-app -o jsonpath='{.spec}' | cmp - "$work/before" || fail 'the Ingress differs from before'
echo "release: $version installs and uninstalls, and visitors get the app again"
