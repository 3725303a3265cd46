#!/usr/bin/env bash
# Installs or upgrades maintenance-controller, from this source tree or from a
# release. Needs kubectl, and helm unless --manifests is given.
set -euo pipefail

usage() {
	cat <<'END'
Usage: [VARIABLE=VALUE…] quick-install.sh [flags] [-- HELM-FLAGS…]

Installs or upgrades maintenance-controller, and waits until it runs. With Helm, an
upgrade keeps the settings of the earlier installation unless you give others.

  IMAGE       image for the cluster to pull, as registry/name:tag or
              registry/name@sha256:…. Needed unless the Helm release already has one or
              the chart names one in a registry; so far none is published
  NAMESPACE   namespace of the controller (default: maintenance-system)
  RELEASE     name of the Helm release (default: maintenance-controller)
  VERSION     a released version, such as v1.2.3 (default: this source tree)
  RELEASES    URL or folder with the files of releases, each in a folder VERSION,
              like https://github.com/OWNER/NAME/releases/download. Needed with
              VERSION: nothing has been released yet

      --manifests         use install.yaml instead of Helm
      --dry-run           print what would be done, and change nothing
      --context NAME      context of the kubeconfig
      --kubeconfig FILE   kubeconfig file (default: the one that kubectl uses)
  -h, --help              show this help

Arguments after -- go to helm upgrade: -- --values my-values.yaml

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
	*) refuse "unknown argument \"$1\"" ;;
	esac
	shift
done
case $namespace in
*[!a-z0-9-]* | -* | *-) refuse "NAMESPACE \"$namespace\" is not a valid namespace" ;;
esac
case $release in
*[!a-z0-9.-]* | [.-]* | *[.-]) refuse "RELEASE \"$release\" is not a valid release name" ;;
esac
case $version in
*[!A-Za-z0-9.+_-]*) refuse "VERSION \"$version\" is not a valid version" ;;
esac
if $manifests && [ ${#helm_flags[@]} -gt 0 ]; then refuse "flags for helm cannot be combined with --manifests"; fi
if [ -n "$version" ] && [ -z "$releases" ]; then
	refuse "VERSION is $version, but RELEASES is not set, and nothing has been released yet: set RELEASES to the place of your releases"
fi

# The parts of IMAGE. A colon before the last slash belongs to a registry's port.
name=${image%@*} digest='' tag=''
case $image in *@*) digest=${image##*@} ;; esac
case ${name##*/} in *:*) tag=${name##*:} name=${name%:*} ;; esac
if [ -n "$image" ]; then
	case $image in *[!A-Za-z0-9./:@_-]* | [/:@]*) refuse "IMAGE \"$image\" is not a valid image name" ;; esac
	if [ -z "$tag$digest" ]; then refuse "IMAGE \"$image\" has neither a tag nor a digest"; fi
fi

command -v kubectl >/dev/null || fail 'kubectl is not installed: https://kubernetes.io/docs/tasks/tools/'
if ! $manifests && ! command -v helm >/dev/null; then
	fail 'helm is not installed: https://helm.sh/docs/intro/install/; or use --manifests'
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
	command -v curl >/dev/null || fail 'curl is not installed: it downloads the release'
	for file in checksums.txt "$1"; do
		curl -fsSL --retry 2 -o "$work/$file" "${base%/}/$version/$file" ||
			fail "cannot download ${base%/}/$version/$file: is $version a release, and RELEASES right?"
	done
	sum=$(awk -v file="$1" '$2 == file || $2 == "*" file { print $1 }' "$work/checksums.txt")
	[ -n "$sum" ] || fail "checksums.txt of $version does not name $1"
	if command -v sha256sum >/dev/null; then
		set -- "$1" "$(sha256sum <"$work/$1")"
	else
		set -- "$1" "$(shasum -a 256 <"$work/$1")"
	fi
	[ "${2%% *}" = "$sum" ] || fail "$1 of $version does not match checksums.txt: it is damaged, or not from this release"
}

# source_of TREE-PATH FILE: sets $source to the path in this tree or to the file of
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
	[ -e "$source" ] || fail "$here is not a source tree of maintenance-controller: name a release with VERSION"
}

# needs_image NAMED: IMAGE is optional only if there is already an image to pull.
needs_image() {
	case $image$1 in
	*/*) ;;
	*) [ -n "$image" ] || fail "IMAGE is not set, and $1 is in no registry: run make image, push the image, and set IMAGE=registry/name:tag; scripts/deploy.sh does all of that" ;;
	esac
}

# would ARGUMENTS…: prints a command that changes the cluster.
would() {
	printf 'would run:'
	printf ' %q' "$@" | sed 's/\\\([,!]\)/\1/g'
	echo
}

# Helm and manifests must not mix, because one would take over only half of what the
# other installed. And a second controller would not know of the first.
found=$("${kubectl[@]}" --namespace "$namespace" get deployments --selector=app.kubernetes.io/name=maintenance-controller \
	--output=jsonpath='{range .items[*]}{.metadata.name}|{.metadata.annotations.meta\.helm\.sh/release-name}{"\n"}{end}')
while IFS='|' read -r deployment of; do
	case $manifests:$of in
	false: | true:) if [ -n "$deployment" ] && ! { $manifests && [ "$deployment" = maintenance-controller ]; }; then
		fail "it is installed in $namespace from manifests, as Deployment $deployment: use --manifests if that was install.yaml, or uninstall it first"
	fi ;;
	true:*) fail "it is installed in $namespace by Helm: leave out --manifests, or uninstall it first" ;;
	false:"$release") ;;
	*) fail "release $of is in $namespace: upgrade it with RELEASE=$of, or uninstall it first" ;;
	esac
done <<<"$found"

# explain_failure: reports what the Pods of a failed installation wait for, and ends.
explain_failure() {
	local waits
	waits=$("${kubectl[@]}" --namespace "$namespace" get pods --selector=app.kubernetes.io/name=maintenance-controller \
		--output=jsonpath='{range .items[*]}{"  "}{.metadata.name}: {.status.phase} {.status.containerStatuses[*].state.waiting.message}{"\n"}{end}' |
		awk '$2 != "Running" || NF > 2')
	fail "the installation failed, see above${waits:+. Its Pods:
$waits}"
}

by_helm() {
	source_of deploy/chart "maintenance-controller-${version#v}.tgz"
	local named
	# The release's own value comes last and wins; before the first installation there is none.
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
	"${command[@]}" || explain_failure
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
	"${kubectl[@]}" --namespace "$namespace" rollout status deployment/maintenance-controller --timeout=5m || explain_failure
}

if $manifests; then by_manifests; else by_helm; fi
