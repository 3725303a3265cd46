#!/bin/bash
# Shows maintenance mode on the local cluster: what people type, and what visitors
# get before, during and after. Called by `make demo`, once the cluster is up.
set -euo pipefail
cd "$(dirname "$0")/../.."
export KUBECONFIG=$PWD/.cluster/kubeconfig KUBECACHEDIR=$PWD/.cluster/kubecache PATH=$PWD/.cluster/bin:$PATH

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' off=$'\e[0m'; else bold='' dim='' green='' off=''; fi
app=http://my-app.localhost:8081 shop=http://shop.localhost:8081
state='jsonpath={.metadata.annotations.maintenance/state}'

title() { printf '\n%s── %s %s\n\n' "$bold$green" "$*" "$off"; }
note() { printf '%s# %s%s\n' "$dim" "$*" "$off"; }
# show CMD…: a command as a person would type it.
show() {
	local word line=''
	for word; do
		[[ $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]] || word="'$word'"
		line+=" $word"
	done
	printf '%s$%s%s\n' "$bold" "$line" "$off"
}
run() {
	show "$@"
	"$@"
	echo
}
# get URL [CURL OPTION…]: the status line, the headers that matter, the body's first lines.
get() {
	local answer body
	show curl -i "$@"
	answer=$(curl -si --max-time 10 --noproxy '*' "$@" | tr -d '\r')
	grep -Ei '^(HTTP|content-type|retry-after|cache-control|maintenance-page-set|maintenance-bypass)' <<<"${answer%%$'\n\n'*}"
	body=${answer#*$'\n\n'}
	printf '\n%s\n' "$(head -n 7 <<<"$body" | cut -c 1-100)"
	[ "$(wc -l <<<"$body")" -le 7 ] || note "… $(wc -c <<<"$body") bytes in all"
	echo
}
# await STATUS URL: the ingress controller follows a change a moment later.
await() {
	for _ in {1..300}; do
		[ "$(curl -so /dev/null --max-time 5 --noproxy '*' -w '%{http_code}' "$2")" != "$1" ] || return 0
		sleep 0.1
	done
	echo "demo: $2 did not answer $1 within 30 s" >&2
	return 1
}
# await_page TEXT URL: the page is switched when the Pods of the new one serve.
await_page() {
	for _ in {1..300}; do
		! curl -s --max-time 5 --noproxy '*' "$2" | grep -q "$1" || return 0
		sleep 0.1
	done
	echo "demo: $2 did not show \"$1\" within 30 s" >&2
	return 1
}
# ask PATH TEXT: what the HTTP API says, once it says so.
ask() {
	local answer
	show curl -k "$api$1"
	for _ in {1..300}; do
		answer=$(curl -sk --max-time 5 --noproxy '*' "$api$1" || true)
		! grep -qF -- "$2" <<<"$answer" || break
		sleep 0.1
	done
	printf '%s\n\n' "${answer//\},\{/$'},\n '\{}"
	grep -qF -- "$2" <<<"$answer" || { echo "demo: $1 did not say $2 within 30 s" >&2; return 1; }
}
spec() { kubectl get "$1" -o 'jsonpath={.spec}'; }

title 'What is installed'
run helm list --namespace maintenance-system

title 'Two apps: my-app behind an Ingress, shop behind a Traefik IngressRoute'
kubectl annotate ingress/my-app ingressroute/shop maintenance/enabled- maintenance/custom-page- maintenance/bypass-secret- maintenance/open-paths- >/dev/null 2>&1 || true # of an earlier demo
run kubectl apply -f e2e/demo/apps.yaml
kubectl rollout status --timeout=60s deployment/my-app deployment/shop >/dev/null
await 200 $app && await 200 $shop
before=$(spec ingress/my-app; spec ingressroute/shop)
get $app/
get $shop/cart

title 'Maintenance on: one annotation'
run kubectl annotate ingress my-app maintenance/enabled=true
run kubectl wait --for="$state=active" ingress/my-app --timeout=60s
note 'a browser'
get $app/
note 'an API client'
get $app/v1/orders -H 'Accept: application/json'
note 'an older one'
get $app/v1/orders -H 'Accept: application/xml'

title 'The same for an IngressRoute'
run kubectl annotate ingressroute shop maintenance/enabled=true
run kubectl wait --for="$state=active" ingressroute/shop --timeout=60s
get $shop/cart -H 'Accept: text/plain'
note 'both share one page set'
run kubectl get configmaps,pods,services -l app.kubernetes.io/managed-by=maintenance-controller

title 'A page of its own, from the values of the chart'
run helm --namespace maintenance-system get values maintenance-controller
run kubectl annotate ingress my-app maintenance/custom-page=spring
await_page 'Spring cleaning' $app
get $app/
get $app/ -H 'Accept: text/plain'

title 'For front ends: which services work, and what is in maintenance'
api=https://$(kubectl -n maintenance-system get service maintenance-controller-api -o 'jsonpath={.spec.clusterIP}'):8443
ask /maintenance '"name":"shop"'
ask '/maintenance?host=my-app.localhost' '"page":"spring"'
run kubectl apply -f e2e/demo/checker.yaml
ask /services '"name":"my-app","namespace":"default","ready":true,"critical":true'
run kubectl scale deployment/my-app --replicas=0
ask /status '"status":"down"'
run kubectl scale deployment/my-app --replicas=1
ask /status '"status":"up"'

title 'The plugin of kubectl: what is on, and for as long as a command runs'
run kubectl maintenance status
run kubectl maintenance on ingressroute/shop --for 2h --reason 'moving the shop' --by demo --wait
run kubectl maintenance status ingressroute/shop
run kubectl maintenance off ingressroute/shop
await 200 $shop
get $shop/cart
run kubectl maintenance run ingressroute/shop -- curl -s -o /dev/null -w 'visitors get %{http_code} while the command runs\n' --noproxy '*' $shop/cart
await 200 $shop
get $shop/cart

title 'Maintenance off: everything is as it was'
run kubectl annotate ingress my-app maintenance/enabled- maintenance/custom-page-
await 200 $app && await 200 $shop
get $app/
get $shop/cart
if [ "$before" != "$(spec ingress/my-app; spec ingressroute/shop)" ]; then
	echo 'demo: the specs are not what they were' >&2
	exit 1
fi
note 'the specs of both are the same, byte for byte'

title 'Second act: the team stays in, and the admin page is open'
run kubectl annotate ingress my-app maintenance/enabled=true maintenance/bypass-secret=team maintenance/open-paths=/admin
run kubectl wait --for="$state=active" ingress/my-app --timeout=60s
note 'the public'
get $app/
note 'somebody with a token of the Secret; people open a link with it instead'
get $app/orders -H 'Maintenance-Bypass: 6S0mQ1yVb2bq9N0kJ8wFZrVwq0u3Qm5H'
note 'the admin page, which ends the maintenance that hides the rest'
get $app/admin
get -X POST $app/admin/end
await 200 $app
get $app/
kubectl annotate ingress/my-app maintenance/bypass-secret- maintenance/open-paths- >/dev/null
if [ "$before" != "$(spec ingress/my-app; spec ingressroute/shop)" ]; then
	echo 'demo: the specs are not what they were' >&2
	exit 1
fi

title 'Now you'
cat <<END
  export KUBECONFIG=$KUBECONFIG PATH=$PWD/.cluster/bin:\$PATH

  kubectl annotate ingress my-app maintenance/enabled=true   ${dim}# then open $app${off}
  kubectl maintenance on ingress/my-app --for 10m            ${dim}# or this; off, status, list and run${off}
  kubectl describe ingress my-app                            ${dim}# the events say what happened${off}
  kubectl -n maintenance-system logs deploy/maintenance-controller -f
  kubectl annotate ingress my-app maintenance/enabled-
  make down                                                  ${dim}# removes every trace${off}

END
