#!/bin/bash
# The whole demo. Called by `make demo`. It starts a local cluster or, if IMAGE is set, uses a cluster of your own (own.sh).
set -euo pipefail
cd "$(dirname "$0")/../.."
[ -z "${IMAGE:-}" ] || exec e2e/demo/own.sh up
export DEMO_BEGIN=$EPOCHSECONDS

# Check first: without these the demo would fail after minutes of builds.
missing=()
for command in go curl mount apt-get dpkg-deb; do
	command -v "$command" >/dev/null || missing+=("$command")
done
[ ${#missing[@]} = 0 ] || { echo "demo: ${missing[*]} not found; the demo needs Debian or Ubuntu with Go, make and curl" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo 'demo: a local cluster needs root: sudo make demo; or use a cluster of your own: make demo IMAGE=…' >&2; exit 1; }

# timed NAME CMD…: runs a command and adds its time to $parts.
timed() {
	local name=$1 at=$SECONDS
	shift
	"$@"
	parts+=", $name $((SECONDS - at))s"
}
load_and_install() {
	dist/cluster load dist/demo-image.tar
	dist/cluster install --image "$(cat dist/demo-image.ref)" e2e/demo/values.yaml
}

mkdir -p dist
[ -x dist/programs ] || echo 'building the program that builds the others'
go -C e2e build -o "$PWD/dist/programs" ./cmd/programs
dist/programs local --ldflags "${LDFLAGS:-}" --times dist/demo-times
parts=$(cat dist/demo-times)
dist/image --name maintenance-demo --out dist/demo-image.tar bin/maintenance-controller bin/maintenance-page dist/sample-app >dist/demo-image.ref
timed cluster dist/cluster up --nodes "${NODES:-1}"
timed controller load_and_install
install -D -m 755 -t .cluster/bin bin/kubectl-maintenance pkg/cli/kubectl_complete-maintenance

export KUBECONFIG=$PWD/.cluster/kubeconfig KUBECACHEDIR=$PWD/.cluster/kubecache PATH=$PWD/.cluster/bin:$PATH
export DEMO_PARTS=$parts DEMO_SYSTEM=maintenance-system DEMO_NAMESPACE=default DEMO_SHOP_KIND=ingressroute
export DEMO_APP=http://my-app.localhost:8081 DEMO_SHOP=http://shop.localhost:8081 DEMO_CURL='' DEMO_MANIFEST=.cluster/apps.yaml
sed "s#sample-app:dev#$(cat dist/demo-image.ref)#" e2e/demo/apps.yaml >$DEMO_MANIFEST
DEMO_API=https://$(kubectl -n $DEMO_SYSTEM get service maintenance-controller-api -o 'jsonpath={.spec.clusterIP}'):8443
export DEMO_API
e2e/demo/demo.sh

if [ -t 1 ]; then green=$'\e[1;32m' dim=$'\e[2m' off=$'\e[0m'; else green='' dim='' off=''; fi
cat <<END

${green}── Now you ${off}

  export KUBECONFIG=$KUBECONFIG PATH=$PWD/.cluster/bin:\$PATH

  kubectl annotate ingress my-app maintenance/enabled=true   ${dim}# then open $DEMO_APP${off}
  kubectl maintenance on ingress/my-app --for 10m            ${dim}# or this; off, status, list and run${off}
  kubectl describe ingress my-app                            ${dim}# the events say what happened${off}
  kubectl -n maintenance-system logs deploy/maintenance-controller -f
  kubectl annotate ingress my-app maintenance/enabled-
  make down                                                  ${dim}# stops the cluster and removes it${off}

END
