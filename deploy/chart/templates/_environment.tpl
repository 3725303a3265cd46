{{/*
The controller's settings by the names of its environment variables, each with the value of the chart that it comes from.
They are variables, not flags, because `kubectl set env` can change these. Empty ones are left out, so that the program's own
default applies.
*/}}
{{- define "maintenance.settings" -}}
{{- $c := .Values.controller }}
{{- $p := .Values.pagePods }}
{{- $api := .Values.api }}
{{- $keys := include "maintenance.keys" . | fromJson }}
{{- dict
  "TARGETS" (list "controller.targets" (join "," $c.targets))
  "WATCH_NAMESPACES" (list "controller.watchNamespaces" (include "maintenance.namespaces" . | fromJsonArray | join ","))
  "INGRESS_CLASS" (list "controller.ingressClasses" (uniq $c.ingressClasses | join ","))
  "ACME_SOLVER_SERVICES" (list "controller.acmeSolverServices" (join "," $c.acmeSolverServices))
  "INSTALLATION_ID" (list "controller.installationId" $c.installationId)
  "ADOPT_INSTALLATION" (list "controller.adoptInstallations" (uniq $c.adoptInstallations | join ","))
  "ENABLED_KEY" (list "controller.annotations.enabled" $keys.enabled)
  "ENABLED_VALUE" (list "controller.annotations.enabledValue" $keys.enabledValue)
  "CUSTOM_PAGE_KEY" (list "controller.annotations.customPage" $keys.customPage)
  "NAMESPACE_PAGES" (list "maintenance.namespacePages" (ternary "" "false" .Values.maintenance.namespacePages))
  "WATCH_LEASES" (list "controller.watchLeases" (ternary "" "false" $c.watchLeases))
  "PAGE_LEAD_TIME" (list "controller.pageLeadTime" $c.pageLeadTime)
  "SETTLE_TIME" (list "controller.settleTime" $c.settleTime)
  "SETTLE_TIME_CLASSES" (list "controller.settleTimeClasses" (include "maintenance.json" $c.settleTimeClasses))
  "PAGE_SET_GRACE_PERIOD" (list "controller.pageSetGracePeriod" $c.pageSetGracePeriod)
  "PAGE_READY_TIMEOUT" (list "controller.pageReadyTimeout" $c.pageReadyTimeout)
  "AUTO" (list "controller.auto.enabled" (ternary "" "false" $c.auto.enabled))
  "AUTO_FOR" (list "controller.auto.for" $c.auto.for)
  "PAGE_DEBOUNCE" (list "controller.pageDebounce" $c.pageDebounce)
  "LOG_LEVEL" (list "controller.log.level" $c.log.level)
  "LOG_FORMAT" (list "controller.log.format" $c.log.format)
  "LEASE_NAME" (list "fullnameOverride" (include "maintenance.fullname" .))
  "PAGE_IMAGE" (list "image" (include "maintenance.image" .))
  "PAGE_IMAGE_PULL_POLICY" (list "image.pullPolicy" .Values.image.pullPolicy)
  "PAGE_IMAGE_PULL_SECRETS" (list "pagePods.imagePullSecrets" (include "maintenance.names" ($p.imagePullSecrets | default .Values.imagePullSecrets)))
  "PAGE_REPLICAS" (list "pagePods.replicas" (toString $p.replicas))
  "PAGE_LABELS" (list "pagePods.labels" (include "maintenance.pairs" $p.labels))
  "PAGE_ANNOTATIONS" (list "pagePods.annotations" (include "maintenance.pairs" $p.annotations))
  "PAGE_NODE_SELECTOR" (list "pagePods.nodeSelector" (include "maintenance.pairs" $p.nodeSelector))
  "PAGE_TOLERATIONS" (list "pagePods.tolerations" (include "maintenance.json" $p.tolerations))
  "PAGE_AFFINITY" (list "pagePods.affinity" (include "maintenance.json" $p.affinity))
  "PAGE_TOPOLOGY_SPREAD" (list "pagePods.topologySpreadConstraints" (include "maintenance.json" $p.topologySpreadConstraints))
  "PAGE_RESOURCES" (list "pagePods.resources" (include "maintenance.json" $p.resources))
  "PAGE_POD_SECURITY_CONTEXT" (list "pagePods.podSecurityContext" (include "maintenance.json" $p.podSecurityContext))
  "PAGE_SECURITY_CONTEXT" (list "pagePods.securityContext" (include "maintenance.json" $p.securityContext))
  "PAGE_PRIORITY_CLASS" (list "pagePods.priorityClassName" $p.priorityClassName)
  "PAGE_DRAIN" (list "pagePods.drain" $p.drain)
  "PAGE_SERVICE_TYPE" (list "pagePods.service.type" $p.service.type)
  "PAGE_SERVICE_ANNOTATIONS" (list "pagePods.service.annotations" (include "maintenance.pairs" $p.service.annotations))
  "PAGE_SERVICE_CLASSES" (list "pagePods.service.classes" (include "maintenance.json" $p.service.classes))
  "BYPASS_MAX_APPS" (list "pagePods.bypass.maxApps" (toString $p.bypass.maxApps))
  "BYPASS_MAX_PAGE_SETS" (list "pagePods.bypass.maxPageSets" (toString $p.bypass.maxPageSets))
  "BYPASS_COOKIE_LIFETIME" (list "pagePods.bypass.cookieLifetime" $p.bypass.cookieLifetime)
  "PAGE_NETWORK_POLICY" (list "pagePods.networkPolicy" $p.networkPolicy)
  "SERVICE_CHECKERS" (list "checkers.enabled" (ternary "" "false" .Values.checkers.enabled))
  "CHECKERS_ACROSS_NAMESPACES" (list "checkers.acrossNamespaces" (ternary "true" "" .Values.checkers.acrossNamespaces))
  "API_LISTEN" (list "api.enabled" (ternary ":8443" "" $api.enabled))
  "API_TLS_CERT" (list "api.tlsSecret" (ternary "/etc/maintenance-api/tls.crt" "" (include "maintenance.apiSecret" . | not | not)))
  "API_TLS_KEY" (list "api.tlsSecret" (ternary "/etc/maintenance-api/tls.key" "" (include "maintenance.apiSecret" . | not | not)))
  "API_PLAIN_HTTP" (list "api.plainHTTP" (ternary "true" "" (and $api.enabled $api.plainHTTP)))
  "API_NAMESPACES" (list "api.namespaces" (ternary (join "," $api.namespaces) "" $api.enabled))
  "API_CORS_ORIGINS" (list "api.corsOrigins" (ternary (join "," $api.corsOrigins) "" $api.enabled))
  | toJson }}
{{- end }}

{{/* The Secret with the API's certificate, if there is one to mount. */}}
{{- define "maintenance.apiSecret" -}}
{{- if .Values.api.enabled }}{{ .Values.api.tlsSecret }}{{ end }}
{{- end }}

{{- define "maintenance.environment" -}}
- name: MAINTENANCE_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- range $name, $setting := include "maintenance.settings" . | fromJson }}
{{- with last $setting }}
- name: MAINTENANCE_{{ $name }}
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- with .Values.controller.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "maintenance.json" -}}
{{- if . }}{{ toJson . }}{{ end }}
{{- end }}

{{- define "maintenance.names" -}}
{{- $names := list }}
{{- range . }}{{ $names = append $names .name }}{{ end }}
{{- uniq $names | join "," }}
{{- end }}

{{/*
key=value,… as the flags read it: a CSV record, unless it is a single pair whose value has no "=".
*/}}
{{- define "maintenance.pairs" -}}
{{- $pairs := list }}
{{- range $key, $value := . }}{{ $pairs = append $pairs (printf "%s=%s" $key $value) }}{{ end }}
{{- if and (eq (len $pairs) 1) (eq (len (splitList "=" (first $pairs))) 2) }}
{{- first $pairs }}
{{- else }}
{{- $fields := list }}
{{- range $pairs }}{{ $fields = append $fields (printf "\"%s\"" (replace "\"" "\"\"" .)) }}{{ end }}
{{- join "," $fields }}
{{- end }}
{{- end }}
