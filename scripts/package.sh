#!/usr/bin/env bash
# Writes the chart and the manifests of a release, which name the image of that version.
set -euo pipefail

usage() {
	cat <<'END'
Usage: scripts/package.sh VERSION IMAGE FOLDER

  VERSION   1.2.3, with or without a leading v
  IMAGE     the image's registry and name, without a tag: registry.example/maintenance-controller
  FOLDER    for maintenance-controller-1.2.3.tgz and install.yaml; it is replaced

Needs helm, or Go to build it from source.
END
}

if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
	usage
	exit 0
fi
if [ $# != 3 ]; then
	usage >&2
	exit 2
fi
version=${1#v} image=$2 out=$3
if ! [[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?$ ]]; then
	echo "package.sh: $1 is not a semantic version, such as 1.2.3" >&2
	exit 2
fi
cd "$(dirname "$0")/.."
helm=$(command -v helm) || helm=$(go -C e2e run ./cmd/programs tool helm)

if [ -d "$out" ] && [ -n "$(find "$out" -mindepth 1 ! -name 'maintenance-controller-*.tgz' ! -name install.yaml ! -name service-targets.yaml ! -name api.yaml)" ]; then
	echo "package.sh: $out contains other files: name a folder that can be replaced" >&2
	exit 1
fi
rm -rf "$out"
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r deploy/chart "$work/chart"
# The chart of a release names the image of that release.
sed -i.orig "s#^  repository: maintenance-controller\$#  repository: $image#" "$work/chart/values.yaml"
rm "$work/chart/values.yaml.orig"
if ! grep -qxF "  repository: $image" "$work/chart/values.yaml"; then
	echo "package.sh: deploy/chart/values.yaml has no line '  repository: maintenance-controller' to replace" >&2
	exit 1
fi
"$helm" package "$work/chart" --version "$version" --app-version "v$version" --destination "$out" >/dev/null
# So does the manifest, for the controller and for page Pods. Its comment on how to set another image is removed.
sed -e '/^#/d' -e "s#maintenance-controller:dev#$image:v$version#" deploy/manifests/install.yaml >"$out/install.yaml"
if grep -q 'maintenance-controller:dev' "$out/install.yaml" || [ "$(grep -c "$image:v$version\"*\$" "$out/install.yaml")" != 2 ]; then
	echo "package.sh: deploy/manifests/install.yaml does not name the image as expected" >&2
	exit 1
fi
cp deploy/manifests/service-targets.yaml deploy/manifests/api.yaml "$out/"
ls "$out"
