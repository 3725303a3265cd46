#!/bin/bash
# The part of a container engine's command line that `make image` uses, built on buildah, which needs no daemon. Images are
# kept in $ENGINE_DIR.
set -euo pipefail
: "${ENGINE_DIR:?set it to a folder for images}"
export TMPDIR=$ENGINE_DIR/tmp
# buildah keeps the caches that the Dockerfile mounts here. They link to this machine's, so that nothing is compiled twice.
caches=$TMPDIR/buildah-cache
mkdir -p "$caches/go/pkg" "$caches/root/.cache"
ln -sfn "$(go env GOMODCACHE)" "$caches/go/pkg/mod"
ln -sfn "$(go env GOCACHE)" "$caches/root/.cache/go-build"
engine() { buildah --root "$ENGINE_DIR/root" --runroot "$ENGINE_DIR/run" --storage-driver vfs "$@"; }

command=$1
shift
case $command in
build) engine bud --isolation chroot --pull-never --ignorefile Dockerfile.dockerignore --volume "$(go env GOROOT):/usr/local/go:ro" "$@" ;;
tag) engine tag "$@" ;;
save) # -o FILE REFERENCE
	rm -f "$2"
	engine push --quiet "$3" "docker-archive:$2:$3"
	;;
info) ;; # succeeds: the engine is available
base) # NAME ARCH: makes a build image, with this machine's Go mounted into it, so that none has to be pulled
	container=$(engine from scratch)
	mkdir -p "$TMPDIR/base/tmp"
	engine copy --quiet "$container" "$TMPDIR/base" / >/dev/null
	engine copy --quiet "$container" /bin/busybox /bin/busybox >/dev/null
	engine copy --quiet "$container" /bin/busybox /bin/sh >/dev/null
	engine copy --quiet "$container" /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ >/dev/null
	# buildah 1.28 looks for the base image under the target's architecture and ignores FROM --platform.
	engine config --arch "$2" "$container"
	engine config --env PATH=/usr/local/go/bin:/bin --env GOPATH=/go --env GOPROXY="$(go env GOPROXY)" --env GOSUMDB="$(go env GOSUMDB)" "$container"
	engine commit --quiet --rm "$container" "$1" >/dev/null
	;;
clean) rm -rf "$ENGINE_DIR/root" "$ENGINE_DIR/run" ;;
*)
	echo "engine.sh: unknown command $command" >&2
	exit 2
	;;
esac
