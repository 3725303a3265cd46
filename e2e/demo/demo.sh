#!/usr/bin/env bash
# Shows maintenance mode on a cluster: what people type, and what visitors get before, during and after. Called by run.sh
# and own.sh, once the controller is installed. They set:
#
#   DEMO_APP, DEMO_SHOP   the two apps' URLs for visitors
#   DEMO_CURL             options that curl needs to reach them
#   DEMO_API              the HTTP API's URL
#   DEMO_SYSTEM           the controller's namespace
#   DEMO_NAMESPACE        the apps' namespace, which is also KUBECONFIG's current one
#   DEMO_MANIFEST         the file with the apps
#   DEMO_SHOP_KIND        the kind of the shop's route: ingressroute, or ingress if the cluster has no Traefik
#   DEMO_BEGIN            when the demo began, in seconds since 1970
#   DEMO_PARTS            how long each part of it took
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' off=$'\e[0m'; else bold='' dim='' green='' off=''; fi
app=$DEMO_APP shop=$DEMO_SHOP api=$DEMO_API shop_kind=$DEMO_SHOP_KIND
read -ra options <<<"$DEMO_CURL"
state='jsonpath={.metadata.annotations.maintenance/state}'

title() { printf '\n%s── %s %s\n\n' "$bold$green" "$*" "$off"; }
note() { printf '%s# %s%s\n' "$dim" "$*" "$off"; }
# show CMD…: shows a command as a person would type it.
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
# visit [CURL OPTION…] URL: requests a URL as a visitor.
visit() { curl -s --noproxy '*' ${options[@]+"${options[@]}"} "$@"; }
# get URL [CURL OPTION…]: shows the answer's status line, relevant headers, and first lines.
get() {
	local answer body
	show curl -i ${options[@]+"${options[@]}"} "$@"
	answer=$(visit -i --max-time 10 "$@" | tr -d '\r')
	grep -Ei '^(HTTP|content-type|retry-after|cache-control|maintenance-page-set|maintenance-bypass)' <<<"${answer%%$'\n\n'*}"
	body=${answer#*$'\n\n'}
	printf '\n%s\n' "$(head -n 7 <<<"$body" | cut -c 1-100)"
	[ "$(wc -l <<<"$body")" -le 7 ] || note "… $(wc -c <<<"$body") bytes in all"
	echo
}
# await STATUS URL: waits until the ingress controller has followed a change.
await() {
	for _ in {1..300}; do
		[ "$(visit -o /dev/null --max-time 5 -w '%{http_code}' "$2")" != "$1" ] || return 0
		sleep 0.1
	done
	echo "demo: $2 did not answer $1 within 30 s" >&2
	return 1
}
# await_page TEXT URL: waits until the new page's Pods serve and visitors see it.
await_page() {
	for _ in {1..300}; do
		! visit --max-time 5 "$2" | grep -q "$1" || return 0
		sleep 0.1
	done
	echo "demo: $2 did not show \"$1\" within 30 s" >&2
	return 1
}
# ask PATH TEXT: shows the HTTP API's answer once it contains the text.
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
# first_page: shows how long it took until a visitor saw a page.
first_page() {
	local took=$(($(date +%s) - DEMO_BEGIN))
	note "this first page came $((took / 60))m$((took % 60))s after the demo began: $DEMO_PARTS"
	echo
}
spec() { kubectl get "$1" -o 'jsonpath={.spec}'; }

title 'What is installed'
run helm list --namespace "$DEMO_SYSTEM"

if [ "$shop_kind" = ingressroute ]; then
	title 'Two apps: my-app behind an Ingress, shop behind a Traefik IngressRoute'
else
	title 'Two apps, each behind an Ingress'
	note 'with Traefik as the ingress controller, shop would be behind an IngressRoute'
fi
kubectl annotate ingress/my-app "$shop_kind/shop" maintenance/enabled- maintenance/custom-page- maintenance/bypass-secret- maintenance/open-paths- >/dev/null 2>&1 || true # from an earlier demo
run kubectl apply -f "$DEMO_MANIFEST"
kubectl rollout status --timeout=2m deployment/my-app deployment/shop >/dev/null
await 200 $app && await 200 $shop
before=$(spec ingress/my-app; spec "$shop_kind/shop")
get $app/
get $shop/cart

title 'Maintenance on: one annotation'
run kubectl annotate ingress my-app maintenance/enabled=true
run kubectl wait --for="$state=active" ingress/my-app --timeout=60s
note 'a browser'
get $app/
first_page
note 'an API client'
get $app/v1/orders -H 'Accept: application/json'
note 'an older API client'
get $app/v1/orders -H 'Accept: application/xml'

title "The same for the ${shop_kind/ingressroute/IngressRoute} of shop"
run kubectl annotate "$shop_kind" shop maintenance/enabled=true
run kubectl wait --for="$state=active" "$shop_kind/shop" --timeout=60s
get $shop/cart -H 'Accept: text/plain'
note 'both share one page set'
run kubectl get configmaps,pods,services -l app.kubernetes.io/managed-by=maintenance-controller

title "A custom page, from the chart's values"
run helm --namespace "$DEMO_SYSTEM" get values maintenance-controller
run kubectl annotate ingress my-app maintenance/custom-page=spring
await_page 'Spring cleaning' $app
get $app/
get $app/ -H 'Accept: text/plain'

title 'For front ends: which Services work, and what is in maintenance'
ask /maintenance '"name":"my-app","hosts":["my-app.localhost"],"state":"active"'
ask '/maintenance?host=my-app.localhost' '"page":"spring"'
run kubectl apply -f e2e/demo/checker.yaml
ask /services '"name":"my-app","namespace":"'"$DEMO_NAMESPACE"'","ready":true,"critical":true'
run kubectl scale deployment/my-app --replicas=0
ask /status '"status":"down"'
run kubectl scale deployment/my-app --replicas=1
ask /status '"status":"up"'

title 'The kubectl plugin: status, and maintenance while a command runs'
run kubectl maintenance status
run kubectl maintenance on "$shop_kind/shop" --for 2h --reason 'moving the shop' --by demo --wait
run kubectl maintenance status "$shop_kind/shop"
run kubectl maintenance off "$shop_kind/shop"
await 200 $shop
get $shop/cart
run kubectl maintenance run "$shop_kind/shop" -- curl -s -o /dev/null -w 'visitors get %{http_code} while the command runs\n' --noproxy '*' ${options[@]+"${options[@]}"} $shop/cart
await 200 $shop
get $shop/cart

title 'Maintenance off: everything is as it was'
run kubectl annotate ingress my-app maintenance/enabled- maintenance/custom-page-
await 200 $app && await 200 $shop
get $app/
get $shop/cart
if [ "$before" != "$(spec ingress/my-app; spec "$shop_kind/shop")" ]; then
	echo 'demo: the specs differ from those before' >&2
	exit 1
fi
note 'both specs are the same as before, byte for byte'

title 'Second act: the team stays in, and the admin page is open'
run kubectl annotate ingress my-app maintenance/enabled=true maintenance/bypass-secret=team maintenance/open-paths=/admin
run kubectl wait --for="$state=active" ingress/my-app --timeout=60s
note 'the public'
get $app/
note 'somebody with a token from the Secret; in a browser, people open a link with it'
get $app/orders -H 'Maintenance-Bypass: 6S0mQ1yVb2bq9N0kJ8wFZrVwq0u3Qm5H'
note 'the admin page stays open; its button ends the maintenance'
get $app/admin
get -X POST $app/admin/end
await 200 $app
get $app/
kubectl annotate ingress/my-app maintenance/bypass-secret- maintenance/open-paths- >/dev/null
if [ "$before" != "$(spec ingress/my-app; spec "$shop_kind/shop")" ]; then
	echo 'demo: the specs differ from those before' >&2
	exit 1
fi
