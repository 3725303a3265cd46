{{- define "maintenance.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "maintenance.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Only the controller's Pods have these labels. */}}
{{- define "maintenance.selector" -}}
app.kubernetes.io/name: {{ include "maintenance.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "maintenance.labels" -}}
{{ include "maintenance.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end }}

{{- define "maintenance.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "maintenance.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "maintenance.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) }}
{{- end }}
{{- end }}
{{- end }}

{{/* A JSON list, because a template can only return text. */}}
{{- define "maintenance.namespaces" -}}
{{- .Values.operator.watchNamespaces | default .Values.controller.watchNamespaces | toJson }}
{{- end }}

{{/* The annotations that people write; empty means the program's default. */}}
{{- define "maintenance.keys" -}}
{{- $own := .Values.controller.annotations -}}
{{- $value := .Values.operator.maintenanceAnnotationValue | default $own.enabledValue -}}
{{- dict
  "enabled" (.Values.operator.maintenanceAnnotation | default $own.enabled)
  "enabledValue" (ternary (toString $value) "" (not (empty $value)))
  "customPage" (.Values.operator.customPageAnnotation | default $own.customPage)
  | toJson }}
{{- end }}

{{/* maintenance-operator's values if set, else the chart's own. */}}
{{- define "maintenance.podSettings" -}}
{{- $own := .Values.controller }}
{{- dict
  "podAnnotations" (.Values.podAnnotations | default $own.podAnnotations)
  "podSecurityContext" (merge (deepCopy (.Values.podSecurityContext | default dict)) ($own.podSecurityContext | default dict))
  "securityContext" (merge (deepCopy (.Values.securityContext | default dict)) ($own.securityContext | default dict))
  "resources" (.Values.resources | default $own.resources)
  "nodeSelector" (.Values.nodeSelector | default $own.nodeSelector)
  "tolerations" (.Values.tolerations | default $own.tolerations)
  "affinity" (.Values.affinity | default $own.affinity)
  "replicas" (.Values.replicaCount | default $own.replicas)
  | toJson }}
{{- end }}
