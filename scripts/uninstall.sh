#!/usr/bin/env bash
# Restores everything in maintenance, then uninstalls maintenance-controller, however it
# was installed. Needs kubectl, and helm if Helm installed it.
set -euo pipefail

usage() {
	cat <<'END'
Usage: scripts/uninstall.sh [NAMESPACE] [flags]

Uninstalls maintenance-controller, whether Helm or the manifests installed it. First it
lists and restores everything in maintenance: a Helm release with its pre-delete hook,
otherwise with a Job that has the controller's image, settings and rights. If anything
cannot be restored, it says what and why, and deletes only the controller's Pods: fix
the problem and run it again. Steps that are done are not repeated.

  NAMESPACE               of the controller (default: maintenance-system)
      --release NAME      name of the release, of helm install or helm template (default:
                          the one found there)
  -y, --yes               end maintenance without asking
      --remove-annotations
                          also remove the annotations that request maintenance;
                          otherwise the targets are listed, because a later
                          installation would put them in maintenance again
      --remove-namespace  delete the namespace, with the pages in it
      --program FILE      restore with this maintenance-controller (make build), run
                          on this machine instead of the hook or the Job: for a
                          cluster that cannot pull the image
      --timeout SECONDS   of each step that waits (default: 300)
      --dry-run           print what would be done, and change nothing
      --context NAME      context of the kubeconfig
      --kubeconfig FILE   kubeconfig file (default: the one that kubectl uses)
  -h, --help              show this help

Exit codes: 0 = uninstalled, or nothing to do; 1 = something failed or could not be
restored; 2 = wrong usage.
END
}

fail() {
	printf 'uninstall.sh: %s\n' "$1" >&2
	exit 1
}

refuse() {
	printf 'uninstall.sh: %s, see --help\n' "$1" >&2
	exit 2
}

here=$(cd "$(dirname "$0")" && pwd)
access=() kubectl=(kubectl) helm=(helm)
namespace='' release='' program='' timeout=300
yes=false dry=false remove_annotations=false remove_namespace=false
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		usage
		exit 0
		;;
	-y | --yes) yes=true ;;
	--dry-run) dry=true ;;
	--remove-annotations) remove_annotations=true ;;
	--remove-namespace) remove_namespace=true ;;
	--release | --program | --timeout | --context | --kubeconfig)
		if [ $# -lt 2 ] || [ -z "$2" ]; then refuse "$1 needs a value"; fi
		case $1 in
		--release) release=$2 ;;
		--program) program=$2 ;;
		--timeout) timeout=$2 ;;
		*)
			access+=("$1" "$2")
			kubectl+=("$1" "$2")
			helm+=("${1/--context/--kube-context}" "$2")
			;;
		esac
		shift
		;;
	-*) refuse "unknown argument \"$1\"" ;;
	*)
		if [ -n "$namespace" ]; then refuse "unknown argument \"$1\""; fi
		namespace=$1
		;;
	esac
	shift
done
namespace=${namespace:-maintenance-system}
[[ $namespace != *[!a-z0-9-]* && $namespace != -* && $namespace != *- ]] || refuse "\"$namespace\" is not a valid namespace"
[[ $timeout == [1-9]* && $timeout != *[!0-9]* ]] || refuse "--timeout \"$timeout\" is not a number of seconds"
if $remove_namespace && [[ $namespace == default || $namespace == kube-* ]]; then
	refuse "this script does not delete namespace $namespace"
fi

command -v kubectl >/dev/null || fail 'kubectl is not installed: https://kubernetes.io/docs/tasks/tools/'
if [ -n "$program" ] && ! "$program" --version >/dev/null; then
	fail "$program does not run on this machine: make build makes bin/maintenance-controller"
fi
if ! answer=$("${kubectl[@]}" get --raw /version --request-timeout=10s 2>&1); then
	fail "no cluster answers: choose one with --context or --kubeconfig
$answer"
fi
own=("${kubectl[@]}" --namespace "$namespace")

# does ARGUMENTS…: runs a command that changes the cluster, or prints it in a dry run.
does() {
	if $dry; then
		printf 'would run:'
		printf ' %q' "$@" | sed 's/\\\([,!]\)/\1/g'
		echo
		return
	fi
	"$@"
}

# until_none WHAT COMMAND…: waits until the command prints nothing.
until_none() {
	local what=$1 left end=$((SECONDS + timeout))
	shift
	left=$("$@")
	while [ -n "$left" ]; do
		if [ $SECONDS -ge $end ]; then fail "after $timeout s there is still $what:
$left"; fi
		sleep 1
		left=$("$@")
	done
}

# What is installed?

# find_controller: sets deployment, its labels instance and name, by_helm and release.
find_controller() {
	local selector=app.kubernetes.io/name=maintenance-controller found of
	if [ -n "$release" ]; then selector=app.kubernetes.io/instance=$release; fi
	found=$("${own[@]}" get deployments --selector="$selector" \
		--output=jsonpath='{range .items[*]}{.metadata.name}|{.metadata.labels.app\.kubernetes\.io/instance}|{.metadata.labels.app\.kubernetes\.io/name}|{.metadata.annotations.meta\.helm\.sh/release-name}{"\n"}{end}')
	case $found in
	*$'\n'*) fail "namespace $namespace has several: name the Helm release with --release:
${found//|/ }" ;;
	esac
	IFS='|' read -r deployment instance name of <<<"$found"
	instance=${instance:-${release:-maintenance-controller}} name=${name:-maintenance-controller}
	if [ -n "$of" ]; then
		release=$of by_helm=true
		command -v helm >/dev/null || fail "Helm installed release $release, but helm is not installed here: https://helm.sh/docs/intro/install/"
		return
	fi
	# The release's Deployment may have been deleted.
	release=${release:-maintenance-controller} by_helm=false
	if [ -z "$deployment" ] && command -v helm >/dev/null &&
		"${helm[@]}" status "$release" --namespace "$namespace" >/dev/null 2>&1; then
		by_helm=true
	fi
}

# setting FLAG DEFAULT: the controller's setting, from a flag, or else from a variable.
setting() {
	printf '%s\n' "$settings" |
		awk -v flag="--$1" -v variable="MAINTENANCE_$(printf '%s' "$1" | tr 'a-z-' 'A-Z_')=" -v value="$2" '
		index($0, variable) == 1 && !flagged { value = substr($0, length(variable) + 1) }
		next_one { value = $0; next_one = 0 }
		$0 == flag { next_one = flagged = 1 }
		index($0, flag "=") == 1 { value = substr($0, length(flag) + 2); flagged = 1 }
		END { print value }'
}

# served_only FIELD: the lines whose field is a namespace that the controller serves.
served_only() { awk -v field="$1" -v served=",$served," 'served == ",," || index(served, "," $field ",")'; }

# own_only FIELD: the lines whose field is an id of this installation, or empty.
own_only() { awk -v field="$1" -v ids=",$installation,$adopted," '$field == "-" || $field == "<none>" || index(ids, "," $field ",")'; }

# targets: the lines of status.sh without its header. Those with state "-" are only annotated.
targets() {
	"$here/status.sh" ${access[@]+"${access[@]}"} --enabled-key "$enabled_key" | awk 'NR > 1' | served_only 2 | own_only 8
}

# ours: the objects that the controller created.
ours() {
	"${kubectl[@]}" get configmaps,services,pods,poddisruptionbudgets,networkpolicies --all-namespaces --no-headers \
		--selector=app.kubernetes.io/managed-by=maintenance-controller --ignore-not-found \
		--output=custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name,INSTALLATION:.metadata.annotations.maintenance/installation | served_only 2 | own_only 4
}

# Restoring

# scale_down: stops the controller, which would put everything in maintenance again.
scale_down() {
	if [ -z "$deployment" ]; then return; fi
	local pods
	# shellcheck disable=SC2016 # the dollars are the template's
	pods=$("${own[@]}" get deployment "$deployment" --output=go-template='{{range $key, $value := .spec.selector.matchLabels}},{{$key}}={{$value}}{{end}}')
	does "${own[@]}" scale deployment "$deployment" --replicas=0
	$dry || until_none 'a Pod of the controller' "${own[@]}" get pods --selector="${pods#,}" --output=name \
		--field-selector=status.phase!=Succeeded,status.phase!=Failed
	does "${own[@]}" delete lease "$lease" --ignore-not-found
}

# job: the manifest of a Job with the controller's image, settings and rights, and a
# minute more to clean up and report. A mesh must not add a sidecar, which would not end.
job() {
	local container spec words
	container=$("${own[@]}" get deployment "$deployment" --output=jsonpath='{.spec.template.spec.containers[0].name}')
	spec=$("${own[@]}" get deployment "$deployment" --output=jsonpath='{.spec.template.spec}')
	words=$(printf '%s\n' "${restore[@]}" | sed -e 's/[\\"]/\\&/g' -e 's/.*/"&"/' | paste -s -d , -)
	kubectl patch --local --type=strategic --output=json -f - --patch='{"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{
		"name": "'"$container"'", "command": ["/maintenance-controller", '"$words"'], "args": null,
		"livenessProbe": null, "readinessProbe": null, "startupProbe": null}]}}}}' <<-END
		{"apiVersion": "batch/v1", "kind": "Job",
		 "metadata": {"name": "$job", "namespace": "$namespace", "labels": {"app.kubernetes.io/name": "$job"}},
		 "spec": {"backoffLimit": 0, "activeDeadlineSeconds": $((timeout + 60)), "template": {"spec": $spec,
		  "metadata": {"labels": {"sidecar.istio.io/inject": "false"}, "annotations": {"linkerd.io/inject": "disabled"}}}}}
	END
}

# restore_by_job runs that Job, prints its log and returns whether it succeeded. It is
# called in a condition, where bash continues after failures.
restore_by_job() {
	local manifest ended='' waits='' told=false seen
	manifest=$(job) || return
	if $dry; then
		echo 'would run a Job:' maintenance-controller "${restore[@]}"
		return
	fi
	"${own[@]}" delete job "$job" --ignore-not-found >/dev/null &&
		"${own[@]}" create -f - <<<"$manifest" >/dev/null || return
	until [[ $ended == *Complete* || $ended == *Failed* ]]; do
		sleep 1
		ended=$("${own[@]}" get job "$job" --output=jsonpath='{.status.conditions[?(@.status=="True")].type}') || return
		seen=$("${own[@]}" get pods --selector="job-name=$job" --output=jsonpath='{.items[*].status.containerStatuses[*].state.waiting.message}{.items[*].status.phase}')
		case $seen in
		Pending) ;;
		*Pending) waits=${seen%Pending} ;;
		?*) waits='' && { $told || ! "${own[@]}" logs --follow "job/$job" || told=true; } ;;
		esac
	done
	# After its deadline the Pod is deleted, and its log with it.
	if [ -n "$waits" ]; then echo "the Pod of the Job did not start: $waits"; fi
	$told || "${own[@]}" logs "job/$job" || true
	"${own[@]}" delete job "$job" >/dev/null
	[[ $ended == *Complete* ]]
}

restore_by_program() {
	if [ -n "$deployment" ]; then restore+=("--scale-down=$deployment"); fi
	if $dry; then restore+=(--dry-run); fi
	"$program" "${restore[@]}" ${access[@]+"${access[@]}"}
}

# unrestored: reports what is still in maintenance and how to continue, and ends.
unrestored() {
	local left again=''
	left=$(targets | awk '$4 != "-"')
	if [ -n "$left" ]; then
		echo 'Still in maintenance:'
		show "$left"
	fi
	if [ "${replicas:-0}" -gt 0 ]; then
		again="; or start the controller again: kubectl -n $namespace scale deployment $deployment --replicas=$replicas"
	fi
	fail "not everything is restored, see above, so nothing else was deleted. Fix that and run this again$again"
}

# show LINES of targets.
show() { awk '{ print "  " $1 " " $2 "/" $3 ($4 == "-" ? "" : " (" $4 ")") }' <<<"$1"; }

# confirm: nobody must end a maintenance without knowing of it.
confirm() {
	local word
	if $yes || $dry; then return; fi
	if [ ! -t 0 ]; then fail 'visitors would get these apps again: use --yes to end their maintenance'; fi
	read -r -p 'Visitors will get these apps again. Continue? [y/N] ' word
	[[ $word == [yY] || $word == yes ]] || fail 'nothing was done'
}

# Deleting

uninstall_release() {
	local flags=(--wait --timeout "${timeout}s")
	if [ -n "$program" ]; then flags+=(--no-hooks); fi
	does "${helm[@]}" uninstall "$release" --namespace "$namespace" "${flags[@]}"
}

# delete_unowned KINDS FLAGS…: objects with the labels that no Helm release owns.
delete_unowned() {
	local found
	found=$("${kubectl[@]}" get "$@" --selector="$selector" --ignore-not-found --output=go-template='{{range .items}}{{$of := ""}}{{with .metadata.annotations}}{{$of = index . "meta.helm.sh/release-name"}}{{end}}{{if not $of}}{{.kind}}/{{.metadata.name}} {{end}}{{end}}')
	# shellcheck disable=SC2086 # each is a word
	if [ -n "$found" ]; then does "${kubectl[@]}" delete "${@:2}" --ignore-not-found $found; fi
}

# delete_manifests: by the labels of the Deployment, because the manifests may have had
# another version or name. The namespace and people's own pages do not have them.
delete_manifests() {
	local selector="app.kubernetes.io/instance=$instance,app.kubernetes.io/name in ($name,${deployment:-$name}-uninstall)" in
	local made=deployments,poddisruptionbudgets,jobs,services,configmaps,rolebindings,roles,serviceaccounts
	made+=$("${kubectl[@]}" api-resources --api-group=monitoring.coreos.com --output=name | awk '/^(servicemonitors|prometheusrules)\./ { printf ",%s", $0 }' || true)
	does "${own[@]}" delete "$made" --selector="$selector" --ignore-not-found
	delete_unowned clusterrolebindings,clusterroles
	for in in ${served//,/ }; do
		delete_unowned rolebindings,roles --namespace "$in"
	done
	does "${own[@]}" delete lease "$lease" --ignore-not-found
}

# generated by scripts/generate.sh: kinds
kinds=(
	Ingress=ingresses.networking.k8s.io=
	IngressRoute=ingressroutes.traefik.io=/apis/traefik.io/v1alpha1
	HTTPRoute=httproutes.gateway.networking.k8s.io=/apis/gateway.networking.k8s.io/v1
	GRPCRoute=grpcroutes.gateway.networking.k8s.io=/apis/gateway.networking.k8s.io/v1
	Service=services=
)
# end of generated

# take_annotations_off LINES of targets.
take_annotations_off() {
	local kind in name known resource
	while read -r kind in name _; do
		for known in "${kinds[@]}"; do
			if [[ $known == "$kind="* ]]; then IFS='=' read -r _ resource _ <<<"$known"; fi
		done
		does "${kubectl[@]}" --namespace "$in" annotate "$resource" "$name" "$enabled_key-" "$page_key-"
	done <<<"$1"
}

find_controller
settings='' replicas=0
if [ -n "$deployment" ]; then
	# shellcheck disable=SC2016 # the dollar is the template's
	settings=$("${own[@]}" get deployment "$deployment" --output=go-template='{{with index .spec.template.spec.containers 0}}{{range .env}}{{.name}}={{with .value}}{{.}}{{end}}
{{end}}{{range .command}}{{.}}
{{end}}{{range .args}}{{.}}
{{end}}{{end}}')
	replicas=$("${own[@]}" get deployment "$deployment" --output=jsonpath='{.spec.replicas}')
fi
enabled_key=$(setting enabled-key maintenance/enabled)
page_key=$(setting custom-page-key maintenance/custom-page)
lease=$(setting lease-name maintenance-controller)
served=$(setting watch-namespaces '')
installation=$(setting installation-id '')
installation=${installation:-$namespace/$lease} adopted=$(setting adopt-installation '')
job=maintenance-uninstall
restore=(restore --all "--controller-namespace=$namespace" "--lease-name=$lease" "--timeout=${timeout}s")
for flag in targets watch-namespaces enabled-key enabled-value custom-page-key installation-id adopt-installation; do
	value=$(setting "$flag" '')
	if [ -n "$value" ]; then restore+=("--$flag=$value"); fi
done

if $by_helm; then
	echo "Found Helm release $release in namespace $namespace."
elif [ -n "$deployment" ]; then
	echo "Found Deployment $deployment in namespace $namespace, from manifests."
else
	elsewhere=$("${kubectl[@]}" get deployments --all-namespaces --selector=app.kubernetes.io/name=maintenance-controller \
		--output=jsonpath='{range .items[*]}{"  "}{.metadata.namespace}{"\n"}{end}')
	if [ -n "$elsewhere" ]; then
		fail "maintenance-controller is not in namespace $namespace, but in:
$elsewhere"
	fi
	echo "maintenance-controller is not installed in namespace $namespace."
fi

active=$(targets | awk '$4 != "-"')
if [ -n "$active" ]; then
	echo 'In maintenance:'
	show "$active"
	confirm
else
	echo 'Nothing is in maintenance.'
fi

hook=''
if $by_helm && [ -z "$program" ]; then
	hook=$("${helm[@]}" get hooks "$release" --namespace "$namespace" | grep -o 'helm.sh/hook: pre-delete' || true)
fi
if [ -n "$program" ]; then
	restore_by_program || unrestored
elif [ -n "$hook" ]; then
	uninstall_release || {
		if [ -n "$("${own[@]}" get deployment "$deployment" --ignore-not-found --output=name)" ]; then unrestored; fi
		fail 'helm uninstall failed, see above'
	}
elif [ -n "$deployment" ]; then
	scale_down
	restore_by_job || unrestored
elif [ -n "$active" ]; then
	fail 'there is no controller whose image could restore these: run make build, and use --program bin/maintenance-controller'
fi
if ! $by_helm; then
	delete_manifests
elif [ -z "$hook" ]; then
	uninstall_release
fi

if ! $dry; then until_none 'something that the controller created' ours; fi
asking=$(targets)
if ! $dry && [ -n "$(awk '$4 != "-"' <<<"$asking")" ]; then unrestored; fi
if [ -n "$asking" ] && $remove_annotations; then
	take_annotations_off "$asking"
elif [ -n "$asking" ]; then
	echo "Still annotated with $enabled_key; a later installation would put these in maintenance again (--remove-annotations removes it):"
	show "$asking"
fi

pages=$("${own[@]}" get configmaps --selector=maintenance/custom-page --output=jsonpath='{range .items[*]}{" "}{.metadata.name}{end}')
if $remove_namespace; then
	does "${kubectl[@]}" delete namespace "$namespace" --ignore-not-found --timeout="${timeout}s"
elif [ -n "$("${kubectl[@]}" get namespace "$namespace" --ignore-not-found --output=name)" ]; then
	echo "Namespace $namespace stays${pages:+, with the pages$pages} (--remove-namespace deletes it)."
fi
if $dry; then
	echo 'Nothing was changed.'
else
	echo 'maintenance-controller is completely uninstalled.'
fi
