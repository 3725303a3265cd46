#!/usr/bin/env bash
# Lists what is in maintenance, for how long and why. Needs kubectl and the tools
# of any Unix.
set -euo pipefail

usage() {
	cat <<'END'
Usage: scripts/status.sh [flags]

Lists the Ingresses, Services and Traefik IngressRoutes that are in maintenance or
on their way to it or back, the longest first.

  -n, --namespace NAMESPACE   only this namespace (default: all)
      --enabled-key KEY       the controller's --enabled-key (default: maintenance/enabled)
      --context NAME          context of the kubeconfig
      --kubeconfig FILE       kubeconfig file (default: the one that kubectl uses)
  -h, --help                  show this help

A state of "-" means that maintenance is asked for and that the controller has
done nothing about it. MESSAGE is what the controller says about the state.

Exit codes: 0 = listed, 1 = kubectl failed, 2 = wrong usage.
END
}

refuse() {
	printf 'status.sh: %s, see --help\n' "$1" >&2
	exit 2
}

kubectl=(kubectl)
scope=(--all-namespaces)
key=maintenance/enabled
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		usage
		exit 0
		;;
	-n | --namespace | --enabled-key | --context | --kubeconfig)
		if [ $# -lt 2 ] || [ -z "$2" ]; then refuse "$1 needs a value"; fi
		case $1 in
		-n | --namespace) scope=(--namespace "$2") ;;
		--enabled-key) key=$2 ;;
		*) kubectl+=("$1" "$2") ;;
		esac
		shift 2
		;;
	*) refuse "argument \"$1\" is not known" ;;
	esac
done
case $key in
*[!A-Za-z0-9./_-]*) refuse "\"$key\" is no annotation key" ;;
esac

# One line a target. Values are quoted, so that none can hold a tab, a line break
# or a control character of the terminal.
# shellcheck disable=SC2016 # the dollars are the template's
template='{{range .items}}{{$o := .}}{{with .metadata.annotations -}}
{{$on := index . "ENABLED-KEY"}}{{$state := index . "maintenance/state"}}{{$original := index . "maintenance/original" -}}
{{if or $state $original (and $on (ne $on "false")) -}}
{{$o.kind}}	{{$o.metadata.namespace}}	{{$o.metadata.name}}	{{with $state}}{{printf "%q" .}}{{end}}	{{with index . "maintenance/since"}}{{printf "%q" .}}{{end}}	{{with index . "maintenance/page-set"}}{{printf "%q" .}}{{end}}	{{with $on}}{{printf "%q" .}}{{end}}	{{with index . "maintenance/message"}}{{printf "%q" .}}{{end}}
{{end}}{{end}}{{end}}'
template=${template//ENABLED-KEY/$key}

list() {
	"${kubectl[@]}" get "$1" "${scope[@]}" --output=go-template="$template"
}

kinds=(ingresses.networking.k8s.io services)
# Traefik may not be there. Asked like this, another API that is out of order
# does no harm.
if [[ $("${kubectl[@]}" get --raw /apis/traefik.io/v1alpha1 2>/dev/null) == *'"ingressroutes"'* ]]; then
	kinds+=(ingressroutes.traefik.io)
fi
lines=
for kind in "${kinds[@]}"; do
	found=$(list "$kind")
	lines+=${found:+$found$'\n'}
done
if [ -z "$lines" ]; then
	echo 'Nothing is in maintenance.'
	exit 0
fi

# shellcheck disable=SC2016 # the dollars are awk's
printf '%s' "$lines" | awk -F '\t' -v now="$(date -u +%s)" '
	function plain(s) { gsub(/^"|"$/, "", s); gsub(/\\"/, "\"", s); return s }
	# seconds of an RFC 3339 time in UTC, -1 if it is none (days of the civil calendar)
	function seconds(t,   y, m, d, days) {
		if (t !~ /^[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]Z$/) return -1
		y = substr(t, 1, 4) + 0; m = substr(t, 6, 2) + 0; d = substr(t, 9, 2) + 0
		if (m <= 2) { y--; m += 12 }
		days = 365 * y + int(y / 4) - int(y / 100) + int(y / 400) + int((153 * (m - 3) + 2) / 5) + d - 719469
		return days * 86400 + substr(t, 12, 2) * 3600 + substr(t, 15, 2) * 60 + substr(t, 18, 2)
	}
	function lasted(s) {
		if (s < 0) s = 0
		if (s < 60) return s "s"
		if (s < 3600) return int(s / 60) "m" s % 60 "s"
		if (s < 86400) return int(s / 3600) "h" int(s % 3600 / 60) "m"
		return int(s / 86400) "d" int(s % 86400 / 3600) "h"
	}
	function or_dash(s) { return s == "" ? "-" : s }
	{
		state = plain($4); since = plain($5); on = plain($7); message = plain($8)
		if (state == "" && on != "" && on != "false" && message == "")
			message = "asked for, but not begun: its events say why (kubectl describe), or the controller does not run"
		else if (state != "" && (on == "" || on == "false") && message == "")
			message = "not asked for any more: the restore is due"
		at = seconds(since)
		print (at < 0 ? "99999999999" : at) "\t" $1 "\t" $2 "\t" $3 "\t" or_dash(state) "\t" or_dash(since) "\t" \
			(at < 0 ? "-" : lasted(now - at)) "\t" or_dash(plain($6)) "\t" message
	}' | LC_ALL=C sort -t "$(printf '\t')" -k1,1n -k2 | cut -f 2- | awk -F '\t' '
	BEGIN { hold("KIND\tNAMESPACE\tNAME\tSTATE\tSINCE\tFOR\tPAGE-SET\tMESSAGE") }
	{ hold($0) }
	function hold(row,   i, cells, n) {
		rows[++count] = row
		n = split(row, cells, "\t")
		for (i = 1; i < n; i++) if (length(cells[i]) > width[i]) width[i] = length(cells[i])
	}
	END {
		for (r = 1; r <= count; r++) {
			n = split(rows[r], cells, "\t")
			line = ""
			for (i = 1; i < n; i++) line = line sprintf("%-" (width[i] + 2) "s", cells[i])
			line = line cells[n]
			sub(/ +$/, "", line)
			print line
		}
	}'
