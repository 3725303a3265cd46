#!/bin/bash
# Writes the project's image to an archive for `docker load`, `ctr images import` and the local cluster, and its reference
# to a file next to it. Called by `make image`. With a container engine it builds the Dockerfile; without one it packs the
# programs in bin/.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$1 VERSION=$2 COMMIT=$3 DATE=$4
archive=$out/maintenance-controller.tar
mkdir -p "$out"

# Go's name of the image's architecture; empty means this machine's.
ARCH=${ARCH:-}
# ENGINE is the container engine's command, or "none". The default is docker if it runs.
if [ -z "${ENGINE:-}" ]; then
	ENGINE=none
	if docker info >/dev/null 2>&1; then ENGINE=docker; fi
fi

if [ "$ENGINE" = none ]; then
	GOARCH=$ARCH make --no-print-directory build VERSION="$VERSION" COMMIT="$COMMIT" DATE="$DATE" >&2
	go -C e2e run ./cmd/image --name maintenance-controller --out "$archive" --arch "$ARCH" \
		--label title=maintenance-controller \
		--label description="Shows a maintenance page in place of any app behind an Ingress, a Traefik IngressRoute or a Service" \
		--label licenses=Apache-2.0 --label version="$VERSION" --label revision="$COMMIT" --label created="$DATE" \
		"$PWD/bin/maintenance-controller" "$PWD/bin/maintenance-page" >"$out/maintenance-controller.ref"
else
	platform=()
	if [ -n "$ARCH" ]; then platform=(--platform "linux/$ARCH"); fi
	if [ -n "${BUILD_IMAGE:-}" ]; then platform+=(--build-arg "BUILD=$BUILD_IMAGE"); fi
	"$ENGINE" build "${platform[@]}" --build-arg VERSION="$VERSION" --build-arg COMMIT="$COMMIT" --build-arg DATE="$DATE" \
		--iidfile "$out/image-id" -f Dockerfile . >&2
	# The tag changes with the content, so that a cluster rolls out a changed image.
	id=$(cat "$out/image-id") reference=maintenance-controller:dev-
	id=${id#sha256:} reference+=${id:0:12}
	"$ENGINE" tag "$id" "$reference"
	"$ENGINE" save -o "$archive" "$reference"
	echo "$reference" >"$out/maintenance-controller.ref"
fi
echo "$archive: $(cat "$out/maintenance-controller.ref")"
