#!/usr/bin/env bash
# Installs maintenance-controller or upgrades it: as this source tree has it, or in
# a version that has been released. Needs kubectl, and helm or --manifests.
set -euo pipefail

usage() {
	cat <<'END'
Usage: [VARIABLE=VALUE…] quick-install.sh [flags] [-- HELM-FLAGS…]

Installs maintenance-controller, or upgrades it, and waits until it runs. Settings
of an earlier installation by Helm stay, unless they are given anew.

  IMAGE       the image that the cluster is to pull, as registry/name:tag or
              registry/name@sha256:…. Needed unless the release has one already or the
              chart names one of a registry; so far none is published, and it does not
  NAMESPACE   namespace of the controller (default: maintenance-system)
  RELEASE     name of the Helm release (default: maintenance-controller)
  VERSION     a released version, such as v1.2.3 (default: this source tree)
  RELEASES    URL or folder with the files of releases, each in a folder VERSION,
              as https://github.com/OWNER/NAME/releases/download has them. Needed
              with VERSION: nothing has been released yet

      --manifests         without Helm: apply install.yaml
      --dry-run           say what would be done, and change nothing
      --context NAME      context of the kubeconfig
      --kubeconfig FILE   kubeconfig file (default: the one that kubectl uses)
  -h, --help              show this help

What follows -- goes to helm upgrade: -- --values my-values.yaml

Exit codes: 0 = installed, 1 = something failed or is missing, 2 = wrong usage.
END
}

fail() {
	printf 'quick-install.sh: %s\n' "$1" >&2
	exit 1
}

refuse() {
	printf 'quick-install.sh: %s, see --help\n' "$1" >&2
	exit 2
}

image=${IMAGE:-} release=${RELEASE:-maintenance-controller} namespace=${NAMESPACE:-maintenance-system} version=${VERSION:-} releases=${RELEASES:-}
kubectl=(kubectl) helm=(helm) helm_flags=()
manifests=false dry=false
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		usage
		exit 0
		;;
	--manifests) manifests=true ;;
	--dry-run) dry=true ;;
	--context | --kubeconfig)
		if [ $# -lt 2 ] || [ -z "$2" ]; then refuse "$1 needs a value"; fi
		kubectl+=("$1" "$2")
		helm+=("${1/--context/--kube-context}" "$2")
		shift
		;;
	--)
		shift
		helm_flags=("$@")
		break
		;;
	*) refuse "argument \"$1\" is not known" ;;
	esac
	shift
done
case $namespace in
*[!a-z0-9-]* | -* | *-) refuse "NAMESPACE \"$namespace\" is no name of a namespace" ;;
esac
case $release in
*[!a-z0-9.-]* | [.-]* | *[.-]) refuse "RELEASE \"$release\" is no name of a release" ;;
esac
case $version in
*[!A-Za-z0-9.+_-]*) refuse "VERSION \"$version\" is no version" ;;
esac
if $manifests && [ ${#helm_flags[@]} -gt 0 ]; then refuse "flags for helm do not go with --manifests"; fi
if [ -n "$version" ] && [ -z "$releases" ]; then
	refuse "VERSION is $version, but RELEASES does not say where releases are: nothing has been released yet"
fi

# The parts of IMAGE. A colon before the last slash is that of a registry's port.
name=${image%@*} digest='' tag=''
case $image in *@*) digest=${image##*@} ;; esac
case ${name##*/} in *:*) tag=${name##*:} name=${name%:*} ;; esac
if [ -n "$image" ]; then
	case $image in *[!A-Za-z0-9./:@_-]* | [/:@]*) refuse "IMAGE \"$image\" is no name of an image" ;; esac
	if [ -z "$tag$digest" ]; then refuse "IMAGE \"$image\" has neither a tag nor a digest"; fi
fi

command -v kubectl >/dev/null || fail 'kubectl is not there: https://kubernetes.io/docs/tasks/tools/'
if ! $manifests && ! command -v helm >/dev/null; then
	fail 'helm is not there: https://helm.sh/docs/intro/install/; or install without it, with --manifests'
fi
if ! answer=$("${kubectl[@]}" get --raw /version --request-timeout=10s 2>&1); then
	fail "no cluster answers: choose one with --context or --kubeconfig
$answer"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# released FILE: downloads a file of the release, and checks it.
released() {
	local base=$releases file sum
	case $base in
	*://*) ;;
	*) base=file://$(cd "$base" && pwd) || fail "RELEASES \"$releases\" is neither a URL nor a folder" ;;
	esac
	command -v curl >/dev/null || fail 'curl is not there, to download the release with'
	for file in checksums.txt "$1"; do
		curl -fsSL --retry 2 -o "$work/$file" "${base%/}/$version/$file" ||
			fail "${base%/}/$version/$file cannot be had: is $version a release, and RELEASES right?"
	done
	sum=$(awk -v file="$1" '$2 == file || $2 == "*" file { print $1 }' "$work/checksums.txt")
	[ -n "$sum" ] || fail "checksums.txt of $version does not name $1"
	if command -v sha256sum >/dev/null; then
		set -- "$1" "$(sha256sum <"$work/$1")"
	else
		set -- "$1" "$(shasum -a 256 <"$work/$1")"
	fi
	[ "${2%% *}" = "$sum" ] || fail "$1 of $version is not what checksums.txt says: it is damaged, or not the release's"
}

# source_of TREE-PATH FILE: sets $source, to the path in this tree or to the file of
# the release.
source_of() {
	if [ -n "$version" ]; then
		released "$2"
		source=$work/$2
		return
	fi
	local here
	here=$(cd "$(dirname "${BASH_SOURCE[0]:-.}")/.." && pwd)
	source=$here/$1
	[ -e "$source" ] || fail "$here is no source tree of maintenance-controller: name a release with VERSION"
}

# needs_image NAMED: IMAGE may be left out only if there is one to pull.
needs_image() {
	case $image$1 in
	*/*) ;;
	*) [ -n "$image" ] || fail "IMAGE is not given, and $1 is in no registry: make image, push it, and say IMAGE=registry/name:tag; scripts/deploy.sh does all of that" ;;
	esac
}

# would ARGUMENTS…: shows a command that changes the cluster.
would() {
	printf 'would run:'
	printf ' %q' "$@" | sed 's/\\\([,!]\)/\1/g'
	echo
}

# What one way has installed, the other would make half its own; and two controllers
# would not know of each other.
found=$("${kubectl[@]}" --namespace "$namespace" get deployments --selector=app.kubernetes.io/name=maintenance-controller \
	--output=jsonpath='{range .items[*]}{.metadata.name}|{.metadata.annotations.meta\.helm\.sh/release-name}{"\n"}{end}')
while IFS='|' read -r deployment of; do
	case $manifests:$of in
	false: | true:) if [ -n "$deployment" ] && ! { $manifests && [ "$deployment" = maintenance-controller ]; }; then
		fail "manifests have installed it in $namespace, as Deployment $deployment: say --manifests if they are install.yaml's, or uninstall it first"
	fi ;;
	true:*) fail "Helm has installed it in $namespace: leave --manifests out, or uninstall it first" ;;
	false:"$release") ;;
	*) fail "release $of is in $namespace: upgrade that with RELEASE=$of, or uninstall it first" ;;
	esac
done <<<"$found"

# trouble: says what the Pods of a failed installation wait for.
trouble() {
	local waits
	waits=$("${kubectl[@]}" --namespace "$namespace" get pods --selector=app.kubernetes.io/name=maintenance-controller \
		--output=jsonpath='{range .items[*]}{"  "}{.metadata.name}: {.status.phase} {.status.containerStatuses[*].state.waiting.message}{"\n"}{end}' |
		awk '$2 != "Running" || NF > 2')
	fail "not installed, see above${waits:+. Its Pods:
$waits}"
}

by_helm() {
	source_of deploy/chart "maintenance-controller-${version#v}.tgz"
	local named
	# The release's own value comes last, and counts; before the first installation there is none.
	named=$({
		"${helm[@]}" show values "$source"
		"${helm[@]}" get values "$release" --namespace "$namespace" 2>/dev/null || true
	} | awk '/^[^ #]/ { in_image = $1 == "image:" } in_image && $1 == "repository:" { last = $2 } END { print last }')
	needs_image "$named"
	local command=("${helm[@]}" upgrade "$release" "$source" --install --namespace "$namespace" --create-namespace
		--reset-then-reuse-values --wait --timeout 5m)
	if [ -n "$image" ]; then
		command+=(--set-string "image.repository=$name,image.tag=$tag,image.digest=$digest")
	fi
	command+=(${helm_flags[@]+"${helm_flags[@]}"})
	if $dry; then
		would "${command[@]}"
		"${command[@]}" --dry-run=server >/dev/null
		return
	fi
	"${command[@]}" || trouble
}

by_manifests() {
	source_of deploy/manifests/install.yaml install.yaml
	local named
	named=$(awk '$1 == "image:" { print $2; exit }' "$source")
	needs_image "$named"
	sed -e "s#$named#${image:-$named}#" -e "s#maintenance-system#$namespace#" "$source" >"$work/manifest"
	if $dry; then
		would "${kubectl[@]}" apply -f "$source"
		echo "with the image ${image:-$named}, in namespace $namespace:"
		"${kubectl[@]}" apply --dry-run=client -f "$work/manifest"
		return
	fi
	"${kubectl[@]}" apply -f "$work/manifest"
	"${kubectl[@]}" --namespace "$namespace" rollout status deployment/maintenance-controller --timeout=5m || trouble
}

if $manifests; then by_manifests; else by_helm; fi
