{{/*
The controller's settings, as environment variables: `kubectl set env` can change them then. What is left empty is not
given, and the program's own default holds.
*/}}
{{- define "maintenance.environment" -}}
{{- $c := .Values.controller }}
{{- $p := .Values.pagePods }}
{{- $o := .Values.operator }}
{{- $settings := dict
  "TARGETS" (join "," $c.targets)
  "WATCH_NAMESPACES" (include "maintenance.namespaces" . | fromJsonArray | join ",")
  "INGRESS_CLASS" (join "," $c.ingressClasses)
  "ENABLED_KEY" ($o.maintenanceAnnotation | default $c.annotations.enabled)
  "ENABLED_VALUE" ($o.maintenanceAnnotationValue | default $c.annotations.enabledValue)
  "CUSTOM_PAGE_KEY" ($o.customPageAnnotation | default $c.annotations.customPage)
  "NAMESPACE_PAGES" (ternary "" "false" .Values.maintenance.namespacePages)
  "PAGE_LEAD_TIME" $c.pageLeadTime
  "SETTLE_TIME" $c.settleTime
  "PAGE_SET_GRACE_PERIOD" $c.pageSetGracePeriod
  "PAGE_READY_TIMEOUT" $c.pageReadyTimeout
  "PAGE_DEBOUNCE" $c.pageDebounce
  "LOG_LEVEL" $c.log.level
  "LOG_FORMAT" $c.log.format
  "LEASE_NAME" (include "maintenance.fullname" .)
  "PAGE_IMAGE" (include "maintenance.image" .)
  "PAGE_IMAGE_PULL_POLICY" .Values.image.pullPolicy
  "PAGE_IMAGE_PULL_SECRETS" (include "maintenance.names" ($p.imagePullSecrets | default .Values.imagePullSecrets))
  "PAGE_REPLICAS" (toString $p.replicas)
  "PAGE_LABELS" (include "maintenance.pairs" $p.labels)
  "PAGE_ANNOTATIONS" (include "maintenance.pairs" $p.annotations)
  "PAGE_NODE_SELECTOR" (include "maintenance.pairs" $p.nodeSelector)
  "PAGE_TOLERATIONS" (include "maintenance.json" $p.tolerations)
  "PAGE_AFFINITY" (include "maintenance.json" $p.affinity)
  "PAGE_TOPOLOGY_SPREAD" (include "maintenance.json" $p.topologySpreadConstraints)
  "PAGE_RESOURCES" (include "maintenance.json" $p.resources)
  "PAGE_POD_SECURITY_CONTEXT" (include "maintenance.json" $p.podSecurityContext)
  "PAGE_SECURITY_CONTEXT" (include "maintenance.json" $p.securityContext)
  "PAGE_PRIORITY_CLASS" $p.priorityClassName
  "PAGE_DRAIN" $p.drain
  "PAGE_SERVICE_TYPE" $p.service.type
  "PAGE_SERVICE_ANNOTATIONS" (include "maintenance.pairs" $p.service.annotations)
  "PAGE_SERVICE_CLASSES" (include "maintenance.json" $p.service.classes)
  "PAGE_NETWORK_POLICY" $p.networkPolicy
-}}
- name: MAINTENANCE_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- range $name, $value := $settings }}
{{- if $value }}
- name: MAINTENANCE_{{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- with $c.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "maintenance.json" -}}
{{- if . }}{{ toJson . }}{{ end }}
{{- end }}

{{- define "maintenance.names" -}}
{{- $names := list }}
{{- range . }}{{ $names = append $names .name }}{{ end }}
{{- join "," $names }}
{{- end }}

{{/*
key=value,… as the flags read it: a record of CSV, unless it is one pair whose value has no "=".
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
