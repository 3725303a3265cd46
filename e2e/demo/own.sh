#!/usr/bin/env bash
# The demo on a cluster of your own. It makes a namespace and removes it at the end. `make demo` calls "own.sh up" if IMAGE
# is set, and `make demo-down` calls "own.sh down". Environment variables:
#
#   IMAGE             image that the cluster can pull: the one of `make demo-image`
#   KUBECONFIG        its current context is the cluster; kubectl's default if unset
#   YES=1             do not ask whether this is the right context
#   KEEP=1            remove nothing at the end; `make demo-down` does
#   INGRESS_CLASS     class of the Ingresses; the cluster's default or only class if unset
#   INGRESS_SERVICE   the ingress controller's Service, NAMESPACE/NAME:PORT; Traefik's, Ingress NGINX's and HAProxy Ingress's
#                     are found automatically
#   URL               http://HOST[:PORT] of the ingress controller, instead of a port-forward to its Service
set -euo pipefail
cd "$(dirname "$0")/../.."
namespace=maintenance-demo
# A label of the namespace: the demo made it, so the demo may remove it.
mark=maintenance-demo
crd=crd/servicecheckers.maintenance-controller.io

fail() {
	printf 'demo: %s\n' "$*" >&2
	exit 1
}
say() { printf '── %s\n' "$*"; }

tools() {
	local command
	for command in kubectl curl; do
		command -v $command >/dev/null || fail "$command is missing; install it, and run this again"
	done
}

# with_helm: builds helm where there is none. The cluster is checked before, in case it does not answer.
with_helm() {
	local helm
	command -v helm >/dev/null && return
	say 'helm is not on your PATH; this tree builds it once, which takes about a minute'
	helm=$(go -C e2e run ./cmd/programs tool helm)
	PATH=$PATH:${helm%/*}
}

# current: sets $context and $server.
current() {
	context=$(kubectl config current-context 2>/dev/null) || fail 'your kubeconfig has no current context: kubectl config use-context NAME, or set KUBECONFIG'
	server=$(kubectl config view --minify -o 'jsonpath={.clusters[0].cluster.server}')
	kubectl get --raw /version --request-timeout=10s >/dev/null || fail "the cluster of context $context does not answer ($server). Start it, or choose another: kubectl config use-context NAME, or set KUBECONFIG"
}

# ours: fails if the namespace exists and is not the demo's.
ours() {
	local found marked
	found=$(kubectl get namespace $namespace --ignore-not-found -o name)
	marked=$(kubectl get namespaces -l $mark=true -o name)
	[ "$found" = "$marked" ] || fail "there is a namespace $namespace that is not the demo's: delete it, or use another cluster"
}

# alone: fails if the cluster has another controller, which would act on the same targets.
alone() {
	local found
	found=$(kubectl get deployments -A -l app.kubernetes.io/name=maintenance-controller -o 'jsonpath={range .items[*]}{.metadata.namespace}{"\n"}{end}')
	found=$(awk -v own=$namespace 'NF && $1 != own' <<<"$found" | sort -u | paste -sd' ' -)
	[ -z "$found" ] || fail "this cluster already has the controller, in namespace $found, and both would act on the demo's apps. Use another cluster, or uninstall it (scripts/uninstall.sh)"
}

# ingress: finds out how visitors reach the apps. Sets $class, $controller, and $service or $url.
ingress() {
	local classes
	classes=$(kubectl get ingressclasses -o 'jsonpath={range .items[*]}{.metadata.name}|{.spec.controller}|{.metadata.annotations.ingressclass\.kubernetes\.io/is-default-class}{"\n"}{end}')
	class=${INGRESS_CLASS:-$(awk -F'|' '$3 == "true" { print $1; exit }' <<<"$classes")}
	if [ -z "$class" ]; then
		case $(grep -c . <<<"$classes") in
		0) fail 'the cluster has no IngressClass. Install an ingress controller, such as Traefik:
  helm install traefik traefik --repo https://traefik.github.io/charts --namespace traefik --create-namespace' ;;
		1) class=${classes%%|*} ;;
		*) fail "the cluster has several ingress classes and no default: choose one with INGRESS_CLASS, of $(cut -d'|' -f1 <<<"$classes" | paste -sd' ' -)" ;;
		esac
	fi
	controller=$(awk -F'|' -v class="$class" '$1 == class { print $2 }' <<<"$classes")
	[ -n "$controller" ] || fail "the cluster has no IngressClass $class; correct INGRESS_CLASS"
	url=${URL:-} service=${INGRESS_SERVICE:-}
	if [ -n "$url" ]; then
		[[ $url =~ ^http://[^/]+/?$ ]] || fail "URL is $url; it has the form http://HOST or http://HOST:PORT"
	elif [ -z "$service" ]; then
		found_service
	elif ! [[ $service =~ ^[^/:]+/[^/:]+:[0-9]+$ ]]; then
		fail "INGRESS_SERVICE is $service; it has the form NAMESPACE/NAME:PORT"
	fi
}

# found_service: finds the Service of a well-known ingress controller. Sets $service.
found_service() {
	local labels
	case $controller in
	traefik.io/ingress-controller) labels=app.kubernetes.io/name=traefik ;;
	k8s.io/ingress-nginx) labels=app.kubernetes.io/name=ingress-nginx,app.kubernetes.io/component=controller ;;
	haproxy-ingress.github.io/controller) labels=app.kubernetes.io/name=haproxy-ingress ;;
	*) labels='' ;;
	esac
	if [ -n "$labels" ]; then
		service=$(kubectl get services -A -l "$labels" \
			-o 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name}:{.spec.ports[?(@.port==80)].port}{"\n"}{end}')
		service=$(awk '/:80$/ { print; exit }' <<<"$service")
	fi
	[ -n "$service" ] || fail "no Service is known for ingress class $class ($controller): set INGRESS_SERVICE=NAMESPACE/NAME:PORT, or URL=http://HOST"
}

# confirm: shows what the demo will do and where, and asks once.
confirm() {
	local answer
	cat <<END

  context    $context ($server)
  image      $IMAGE
  visitors   ingress class $class, ${url:-port-forward to Service $service}
  makes      namespace $namespace, with two apps and the controller, which serves this namespace only;
             the CRD of ServiceCheckers, if the cluster does not have it
  at the end $([ -n "${KEEP:-}" ] && echo 'all of it stays, until make demo-down' || echo 'removes all of it')

END
	[ -z "${YES:-}" ] || return 0
	[ -t 0 ] || fail 'there is no terminal to ask on; add YES=1 to run the demo in this context'
	read -rp 'Run the demo there? [y/N] ' answer
	case $answer in
	[yY] | [yY][eE][sS]) ;;
	*) fail 'nothing was changed; to use another context: kubectl config use-context NAME' ;;
	esac
}

# private: copies the current context, so that the demo stays in it, with the demo's namespace as its default.
private() {
	local all=$work/kubeconfig
	(umask 077 && kubectl config view --minify --flatten --raw >"$all")
	export KUBECONFIG=$all
	kubectl config set-context "$context" --namespace=$namespace >/dev/null
}

# forward NAME NAMESPACE/SERVICE:PORT: forwards a free local port to a Service in the background. Sets $port. It retries,
# because the Service's Pod may still be starting.
forward() {
	local log=$work/forward-$1 of=${2%:*}
	for _ in {1..20}; do
		kubectl --namespace "${of%/*}" port-forward "service/${of#*/}" ":${2##*:}" >"$log" 2>&1 &
		forwards+=($!)
		for _ in {1..50}; do
			port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$log")
			[ -z "$port" ] || return 0
			kill -0 $! 2>/dev/null || break
			sleep 0.1
		done
		sleep 1
	done
	fail "port-forward to Service $2: $(cat "$log")"
}

prepare() {
	say "namespace $namespace"
	kubectl apply -f - >/dev/null <<END
apiVersion: v1
kind: Namespace
metadata: {name: $namespace, labels: {$mark: "true", pod-security.kubernetes.io/enforce: restricted}}
END
	local at=$SECONDS
	NAMESPACE=$namespace scripts/quick-install.sh -- --values e2e/demo/values.yaml --set "controller.watchNamespaces={$namespace}" >/dev/null
	export DEMO_PARTS="controller $((SECONDS - at))s"
	make --no-print-directory plugin PLUGIN_DIR="$work/bin" >/dev/null
	PATH=$work/bin:$PATH

	export DEMO_SYSTEM=$namespace DEMO_NAMESPACE=$namespace DEMO_MANIFEST=$work/apps.yaml DEMO_SHOP_KIND=ingress DEMO_CURL=''
	if [ "$controller" = traefik.io/ingress-controller ] && [ -n "$(kubectl get crd ingressroutes.traefik.io --ignore-not-found -o name)" ]; then
		DEMO_SHOP_KIND=ingressroute
		cp e2e/demo/apps.yaml "$DEMO_MANIFEST"
	else
		sed '/^apiVersion: traefik.io/,$d' e2e/demo/apps.yaml | cat - e2e/demo/shop-ingress.yaml >"$DEMO_MANIFEST"
	fi
	sed -i.bak -e "s#sample-app:dev#$IMAGE#" -e "s#^  rules:#  ingressClassName: $class\\
  rules:#" "$DEMO_MANIFEST"

	local suffix=''
	if [ -n "$url" ]; then
		local host=${url#http://}
		host=${host%/}
		DEMO_CURL="--connect-to ::$host"
		[[ $host =~ :[0-9]+$ ]] || DEMO_CURL+=:80
	else
		forward ingress "$service"
		suffix=:$port
	fi
	export DEMO_APP=http://my-app.localhost$suffix DEMO_SHOP=http://shop.localhost$suffix
	forward api "$namespace/maintenance-controller-api:8443"
	export DEMO_API=https://127.0.0.1:$port
}

# remove: ends maintenance and removes everything that the demo made. Its returns name their status: in a trap, a bare
# return means that of the command before the trap.
remove() {
	local release others
	if [ -z "$(kubectl get namespace $namespace --ignore-not-found -o name)" ]; then
		say "there is nothing of the demo in context $context"
		return 0
	fi
	say "removing the demo from context $context"
	release=$(helm list --namespace $namespace --all --short)
	[ -z "$release" ] || helm uninstall $release --namespace $namespace --wait --timeout 5m || return 1
	if [ "$(kubectl get $crd --ignore-not-found -o 'jsonpath={.metadata.annotations.meta\.helm\.sh/release-namespace}')" = $namespace ]; then
		others=$(kubectl get servicecheckers -A -o 'jsonpath={range .items[*]}{.metadata.namespace}{"\n"}{end}')
		if [ -z "$(awk -v own=$namespace 'NF && $1 != own' <<<"$others")" ]; then kubectl delete $crd; else say "$crd stays, because other namespaces have ServiceCheckers"; fi
	fi
	kubectl delete namespace $namespace --timeout=3m || return 1
	say "nothing of the demo is left in context $context"
}

finish() {
	local code=$?
	trap - EXIT
	[ ${#forwards[@]} = 0 ] || kill "${forwards[@]}" 2>/dev/null || true
	if [ $code != 0 ] && [ $code != 130 ]; then
		kubectl get pods,ingresses,events || true
		echo "demo: failed, see above. If a Pod does not start, check that the cluster can pull $IMAGE and that make demo-image made it" >&2
	fi
	if [ -n "${KEEP:-}" ]; then
		echo "to remove the demo from context $context: make demo-down"
	elif ! remove; then
		code=1
		echo "demo: not everything could be removed from context $context; try make demo-down" >&2
	fi
	rm -rf "$work"
	exit $code
}

up() {
	tools
	current
	ours
	alone
	ingress
	confirm
	with_helm
	DEMO_BEGIN=$(date +%s)
	export DEMO_BEGIN
	work=$(mktemp -d) forwards=()
	trap finish EXIT
	trap 'exit 130' INT TERM
	private
	prepare
	e2e/demo/demo.sh
	[ -z "${KEEP:-}" ] || cat <<END

── Now you

  kubectl -n $namespace annotate ingress my-app maintenance/enabled=true
  kubectl -n $namespace describe ingress my-app       # the events say what happened
  kubectl -n $namespace annotate ingress my-app maintenance/enabled-

END
}

down() {
	tools
	current
	ours
	with_helm
	remove
}

case ${1:-} in
up | down) "$1" ;;
*) fail 'usage: make demo IMAGE=…, or make demo-down' ;;
esac
