#!/bin/bash
# Makes the artefacts of a release with goreleaser, as far as that goes without a tag and a container engine, and installs
# them on a local cluster: what people would download is what is tested. Called by `make release-snapshot`; needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
fail() { echo "release: $*" >&2; exit 1; }
say() { printf '── %s\n' "$*"; }
cluster() { go -C "$root/e2e" run ./cmd/cluster "$@"; }
goreleaser=$(cluster tool goreleaser) helm=$(cluster tool helm) kubectl=$(cluster tool kubectl)

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
git remote add origin https://github.com/example/maintenance-controller.git # goreleaser wants to know whose it is, and asks nobody
git add -A
git -c user.name=release -c user.email=release@localhost commit -qm snapshot
# A registry that nobody asks: the nodes are given the image.
export IMAGE=registry.example/maintenance-controller
"$goreleaser" check
"$goreleaser" release --snapshot --clean

version=$(sed -n 's/.*"version":"\([^"]*\)".*/\1/p' dist/metadata.json)
[ -n "$version" ] || fail 'dist/metadata.json names no version'
say "what there is of $version"
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
	[ "$(sha256sum "$archive" | cut -d' ' -f1)" = "$sum" ] || fail "the krew manifest has another checksum of $archive"
	tar -tzf "$archive" | sort | paste -sd' '
	tar -tzf "$archive" | grep -qxE 'kubectl-maintenance(\.exe)?' || fail "$archive has no plugin"
	platforms=$((platforms + 1))
done < <(awk '$1 == "uri:" { uri = $2 } $1 == "sha256:" { print uri, $2 }' "$work/maintenance.yaml")
[ $platforms = 6 ] || fail "the krew manifest has $platforms platforms, and not 6"
tar -xzf "dist/kubectl-maintenance_${version}_linux_$arch.tar.gz" -C "$work/programs"
! ldd "$work/programs/kubectl-maintenance" 2>/dev/null || fail 'the plugin is not static'
"$work/programs/kubectl-maintenance" version | tee "$work/said"
grep -qF "v$version (commit $(git rev-parse HEAD)" "$work/said" || fail 'the plugin does not say what it was built from'
for program in maintenance-controller maintenance-page; do
	"$work/programs/$program" --version | tee "$work/said"
	grep -qF "v$version (commit $(git rev-parse HEAD), built $(TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%d)" "$work/said" || fail "$program --version does not say what it was built from"
done

say 'the page comes from values, by Helm'
image=$IMAGE:v$version
cd "$root"
cluster image --name "$image" --out "$work/image.tar" "$work/programs/maintenance-controller" "$work/programs/maintenance-page" >/dev/null
CGO_ENABLED=0 go -C e2e build -trimpath -buildvcs=false -ldflags '-s -w' -o "$work/sample-app" ./sampleapp
cluster image --name sample-app:dev --out "$work/sample-app.tar" "$work/sample-app" >/dev/null
cluster up --dir "$work/state"
cluster load --dir "$work/state" "$work/image.tar" "$work/sample-app.tar"
export KUBECONFIG=$work/state/kubeconfig PATH=${kubectl%/*}:${helm%/*}:$PATH
mkdir "$work/releases"
mv "$work/tree/dist" "$work/releases/v$version"
install() { env -u IMAGE RELEASES="$work/releases" VERSION="v$version" scripts/quick-install.sh "$@"; }
# visitors WHAT PATTERN: what they get soon matches it. Not curl --retry: it takes 503 for a reason to.
visitors() {
	for _ in $(seq 50); do
		curl -si --max-time 10 --noproxy '*' http://my-app.localhost:8081/ >"$work/answer" || true
		if grep -qi -- "$2" "$work/answer"; then
			echo "visitors get $1: $(head -1 "$work/answer")"
			return
		fi
		sleep 0.1
	done
	fail "visitors do not get $1, but: $(head -5 "$work/answer")"
}
in_maintenance() { kubectl wait --timeout=2m '--for=jsonpath={.metadata.annotations.maintenance/state}=active' ingress/my-app; }

install -- --values e2e/demo/values.yaml
[ "$(kubectl -n maintenance-system get deployment maintenance-controller -o jsonpath='{.spec.template.spec.containers[0].image}')" = "$image" ] ||
	fail 'the chart of the release does not name the image of the release'
kubectl apply -f e2e/demo/apps.yaml
kubectl wait --for=condition=Available --timeout=2m deployment --all
visitors 'the app' '^HTTP/1.1 200'
kubectl get ingress my-app -o jsonpath='{.spec}' >"$work/before"
kubectl annotate ingress my-app maintenance/enabled=true maintenance/custom-page=spring
in_maintenance
PATH=$work/programs:$PATH kubectl maintenance status | tee "$work/said"
grep -qE '^ingress/my-app +active .* spring ' "$work/said" || fail 'kubectl maintenance does not say what is in maintenance'
visitors 'the page of the values' 'Spring cleaning'

say 'helm uninstall in the middle of maintenance'
helm uninstall maintenance-controller --namespace maintenance-system --timeout 5m --wait
visitors 'the app' '^HTTP/1.1 200'
kubectl get ingress my-app -o jsonpath='{.spec}' | cmp - "$work/before" || fail 'the Ingress is not as before'

say 'what is still annotated goes in again, by the manifest'
kubectl annotate ingress my-app maintenance/custom-page-
install --manifests
in_maintenance
visitors 'a page' '^Maintenance-Page-Set: '
scripts/uninstall.sh --yes --remove-annotations --remove-namespace
visitors 'the app' '^HTTP/1.1 200'
kubectl get ingress my-app -o jsonpath='{.spec}' | cmp - "$work/before" || fail 'the Ingress is not as before'
echo "release: what there is of $version installs and uninstalls, and no visitor is left with a page"
