#!/bin/bash
# As much of a container engine's command line as `make image` needs, on buildah, which needs no daemon. Its images are
# in the folder $ENGINE_DIR.
set -euo pipefail
: "${ENGINE_DIR:?name a folder for images}"
export TMPDIR=$ENGINE_DIR/tmp
# Where buildah keeps the caches that the Dockerfile mounts: they are this machine's own, so that nothing is compiled twice.
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
info) ;; # it is there
base) # NAME ARCH: an image to build with, which this machine's Go is mounted into, since there is no registry to pull one from
	container=$(engine from scratch)
	mkdir -p "$TMPDIR/base/tmp"
	engine copy --quiet "$container" "$TMPDIR/base" / >/dev/null
	engine copy --quiet "$container" /bin/busybox /bin/busybox >/dev/null
	engine copy --quiet "$container" /bin/busybox /bin/sh >/dev/null
	engine copy --quiet "$container" /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ >/dev/null
	# buildah (of 1.28) looks for the base among images of the target's architecture, whatever FROM --platform says.
	engine config --arch "$2" "$container"
	engine config --env PATH=/usr/local/go/bin:/bin --env GOPATH=/go --env GOPROXY="$(go env GOPROXY)" --env GOSUMDB="$(go env GOSUMDB)" "$container"
	engine commit --quiet --rm "$container" "$1" >/dev/null
	;;
clean) rm -rf "$ENGINE_DIR/root" "$ENGINE_DIR/run" ;;
*)
	echo "engine.sh: $command is not known" >&2
	exit 2
	;;
esac
