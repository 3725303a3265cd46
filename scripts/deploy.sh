#!/usr/bin/env bash
# Builds the image of this source tree, brings it to a cluster and installs it there
# with Helm. Needs whatever `make image` and quick-install.sh need.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

usage() {
	cat <<'END'
Usage: scripts/deploy.sh [VERSION] [NAMESPACE] [flags] [-- HELM-FLAGS…]

Builds the image of this source tree, brings it to the cluster that kubectl uses, and
installs or upgrades the chart with it.

  VERSION             version that the programs report (default: from Git)
  NAMESPACE           namespace of the controller (default: maintenance-system)

For a kind or minikube cluster, the image is loaded into the nodes. For others:

      --push NAME[:TAG]   push it to a registry that the cluster pulls from, with crane,
                          skopeo, docker or podman (default TAG: from the content)
      --load COMMAND      run COMMAND with the archive of the image as its last
                          argument: --load 'k3d image import --cluster dev'
      --image IMAGE       build nothing: the cluster can pull this image

      --archive FILE      build nothing: use the image in this archive, from make image
                          or docker save
      --dry-run           print what would be done, and do nothing
      --context NAME      context of the kubeconfig
      --kubeconfig FILE   kubeconfig file (default: the one that kubectl uses)
  -h, --help              show this help

Arguments after -- go to helm upgrade: -- --values my-values.yaml

Exit codes: 0 = deployed, 1 = something failed or is missing, 2 = wrong usage.
END
}

fail() {
	printf 'deploy.sh: %s\n' "$1" >&2
	exit 1
}

refuse() {
	printf 'deploy.sh: %s, see --help\n' "$1" >&2
	exit 2
}

words=() access=() helm_flags=()
image='' archive='' push='' load='' dry=false
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		usage
		exit 0
		;;
	--dry-run) dry=true ;;
	--push | --load | --image | --archive | --context | --kubeconfig)
		if [ $# -lt 2 ] || [ -z "$2" ]; then refuse "$1 needs a value"; fi
		case $1 in
		--push) push=$2 ;;
		--load) load=$2 ;;
		--image) image=$2 ;;
		--archive) archive=$2 ;;
		*) access+=("$1" "$2") ;;
		esac
		shift
		;;
	--)
		shift
		helm_flags=("$@")
		break
		;;
	-*) refuse "unknown argument \"$1\"" ;;
	*) words+=("$1") ;;
	esac
	shift
done
if [ ${#words[@]} -gt 2 ]; then refuse "unknown argument \"${words[2]}\""; fi
version=${words[0]:-} namespace=${words[1]:-maintenance-system}
case $version in
*[!A-Za-z0-9.+_-]*) refuse "\"$version\" is not a valid version" ;;
esac
if [ -n "$image" ] && [ -n "$push$load$archive" ]; then refuse "--image builds nothing, so it cannot be combined with --push, --load or --archive"; fi
if [ -n "$push" ] && [ -n "$load" ]; then refuse "use --push or --load, not both"; fi
case $archive in
'' | /*) ;;
*) archive=$PWD/$archive ;;
esac
if [ -n "$archive" ] && [ ! -r "$archive" ]; then fail "cannot read the archive $archive"; fi

needs() { command -v "$1" >/dev/null || fail "$1 is not installed: $2"; }

# does ARGUMENTS…: runs a command, or prints it in a dry run.
does() {
	if $dry; then
		printf 'would run:'
		printf ' %q' "$@" | sed 's/\\\([,!]\)/\1/g'
		echo
		return
	fi
	"$@"
}

# Before the build, because that takes a while.
needs kubectl https://kubernetes.io/docs/tasks/tools/
needs helm https://helm.sh/docs/intro/install/
kubectl=(kubectl ${access[@]+"${access[@]}"})
if ! answer=$("${kubectl[@]}" get --raw /version --request-timeout=10s 2>&1); then
	fail "no cluster answers: choose one with --context or --kubeconfig
$answer"
fi

# config TEMPLATE: a field of the kubeconfig's current context.
config() { "${kubectl[@]}" config view --minify --output=jsonpath="$1"; }

# how: sets loader, the command that loads an archive into the nodes.
loader=()
how() {
	local context cluster
	context=$(config '{.contexts[0].name}')
	cluster=$(config '{.clusters[0].name}')
	if [ -n "$load" ]; then
		read -r -a loader <<<"$load"
	elif [[ $(config '{.clusters[0].cluster.extensions}') == *'"minikube.sigs.k8s.io"'* ]]; then
		needs minikube 'it loads images into a minikube cluster; or use --push, --load or --image'
		loader=(minikube image load "--profile=$cluster")
	elif [[ $cluster == kind-* ]]; then
		needs kind 'it loads images into a kind cluster; or use --push, --load or --image'
		loader=(kind load image-archive "--name=${cluster#kind-}")
	else
		fail "context $context is not a kind or minikube cluster: say how to bring the image there, with --push, --load or --image, see --help"
	fi
}

# build: builds the archive.
build() {
	needs make 'it builds the image; or use --image or --archive'
	needs go 'it builds the image, see https://go.dev/dl/; or use --image or --archive'
	archive=$root/dist/maintenance-controller.tar
	does make -C "$root" image ${version:+"VERSION=$version"}
}

# reference: the name of the image in the archive.
reference() {
	if $dry && [ ! -r "$archive" ]; then
		echo maintenance-controller:built
		return
	fi
	tar -xOf "$archive" manifest.json | sed -n 's/.*"RepoTags": *\[ *"\([^"]*\)".*/\1/p'
}

# pushed TOOL: pushes the image of the archive as $image.
pushed() {
	case $1 in
	crane) does crane push "$archive" "$image" ;;
	skopeo) does skopeo copy "docker-archive:$archive" "docker://$image" ;;
	docker | podman)
		does "$1" load --input "$archive"
		does "$1" tag "$built" "$image"
		does "$1" push "$image"
		;;
	esac
}

if [ -z "$image" ]; then
	if [ -z "$push" ]; then how; fi
	if [ -z "$archive" ]; then build; fi
	built=$(reference)
	[ -n "$built" ] || fail "$archive is not an archive of an image with a name"
	image=$built
	if [ -n "$push" ]; then
		case ${push##*/} in
		*:*) image=$push ;;
		*) image=$push:${built##*:} ;;
		esac
		for tool in crane skopeo docker podman none; do
			if command -v "$tool" >/dev/null; then break; fi
		done
		[ "$tool" != none ] || fail 'pushing the image needs crane, skopeo, docker or podman; or use --load or --image'
		pushed "$tool"
	else
		does "${loader[@]}" "$archive"
	fi
fi

flags=(${access[@]+"${access[@]}"})
if $dry; then flags+=(--dry-run); fi
if [ ${#helm_flags[@]} -gt 0 ]; then flags+=(-- "${helm_flags[@]}"); fi
IMAGE=$image NAMESPACE=$namespace VERSION='' "$root/scripts/quick-install.sh" ${flags[@]+"${flags[@]}"}
