#!/bin/bash
# Writes the project's image to an archive that `docker load`, `ctr images import` and the local cluster read, and its
# reference to a file beside it. Called by `make image`. It builds the Dockerfile with a container engine, where there
# is one, and without one it puts the programs of bin/ together.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$1 VERSION=$2 COMMIT=$3 DATE=$4
archive=$out/maintenance-controller.tar
mkdir -p "$out"

# The architecture that the image is for, as Go names it, if it is not this machine's.
ARCH=${ARCH:-}
# ENGINE names the engine's command; "none" wants none.
if [ -z "${ENGINE:-}" ]; then
	ENGINE=none
	if docker info >/dev/null 2>&1; then ENGINE=docker; fi
fi

if [ "$ENGINE" = none ]; then
	GOARCH=$ARCH make --no-print-directory build VERSION="$VERSION" COMMIT="$COMMIT" DATE="$DATE" >&2
	go -C e2e run ./cmd/cluster image --name maintenance-controller --out "$archive" --arch "$ARCH" \
		--label title=maintenance-controller \
		--label description="Shows a maintenance page in place of any app behind an Ingress, a Traefik IngressRoute or a Service" \
		--label licenses=Apache-2.0 --label version="$VERSION" --label revision="$COMMIT" --label created="$DATE" \
		"$PWD/bin/maintenance-controller" "$PWD/bin/maintenance-page" >"$out/maintenance-controller.ref"
else
	for_whom=()
	if [ -n "$ARCH" ]; then for_whom=(--platform "linux/$ARCH"); fi
	if [ -n "${BUILD_IMAGE:-}" ]; then for_whom+=(--build-arg "BUILD=$BUILD_IMAGE"); fi
	"$ENGINE" build "${for_whom[@]}" --build-arg VERSION="$VERSION" --build-arg COMMIT="$COMMIT" --build-arg DATE="$DATE" \
		--iidfile "$out/image-id" -f Dockerfile . >&2
	# A tag that changes with the content, so that a cluster rolls out what has changed.
	id=$(cat "$out/image-id") reference=maintenance-controller:dev-
	id=${id#sha256:} reference+=${id:0:12}
	"$ENGINE" tag "$id" "$reference"
	"$ENGINE" save -o "$archive" "$reference"
	echo "$reference" >"$out/maintenance-controller.ref"
fi
echo "$archive: $(cat "$out/maintenance-controller.ref")"
