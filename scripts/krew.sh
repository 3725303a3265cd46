#!/usr/bin/env bash
# Writes the manifest with which krew installs the plugin, for your own index: krew's index refuses names as general as
# this one.
set -euo pipefail

usage() {
	cat <<'END'
Usage: scripts/krew.sh VERSION URL CHECKSUMS

  VERSION     1.2.3, with or without a leading v
  URL         where the archives of this release are, without the file name
  CHECKSUMS   checksums.txt of the release

Writes maintenance.yaml to standard output. Put it into the folder plugins/ of a Git repository, then run

  kubectl krew index add NAME URL-OF-THE-REPOSITORY
  kubectl krew install NAME/maintenance
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
version=${1#v} url=${2%/} checksums=$3
cat <<END
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: maintenance
spec:
  version: v$version
  homepage: ${url%/releases/*}
  shortDescription: Show a maintenance page instead of an app
  description: |
    Starts and ends maintenance of Ingresses, IngressRoutes, Gateway API routes
    and Services, shows what is in maintenance, and keeps maintenance on while
    a command runs. It needs maintenance-controller in the cluster, and no
    rights beyond those of your kubeconfig.
  caveats: |
    For completion in kubectl:

      kubectl maintenance completion kubectl > ~/.local/bin/kubectl_complete-maintenance
      chmod +x ~/.local/bin/kubectl_complete-maintenance
  platforms:
END
for platform in linux_amd64 linux_arm64 darwin_amd64 darwin_arm64 windows_amd64 windows_arm64; do
	archive=kubectl-maintenance_${version}_$platform.tar.gz
	binary=kubectl-maintenance
	if [ "${platform%_*}" = windows ]; then binary+=.exe; fi
	sum=$(awk -v file="$archive" '$2 == file { print $1 }' "$checksums")
	if [ -z "$sum" ]; then
		echo "krew.sh: $checksums has no $archive" >&2
		exit 1
	fi
	cat <<END
    - selector: {matchLabels: {os: ${platform%_*}, arch: ${platform#*_}}}
      uri: $url/$archive
      sha256: $sum
      bin: $binary
      files: [{from: $binary, to: .}, {from: LICENSE, to: .}]
END
done
