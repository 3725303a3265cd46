{{/* What the controller does in the namespaces that it serves. It has no access to Secrets. */}}
{{- define "maintenance.rights" -}}
{{- $kinds := include "maintenance.kinds" . | fromYaml -}}
# Targets: watched by their metadata, read and updated one at a time. A kind that is no target may still use a page
# set, which is then not deleted. What Services need is among the rights for page sets.
{{- $front := false }}
{{- $routes := false }}
{{- range $kind, $of := $kinds }}
{{- if has $kind $.Values.controller.targets }}
{{- $front = or $front $of.front }}
{{- $routes = or $routes (eq $of.group "gateway.networking.k8s.io") }}
{{- end }}
{{- if ne $kind "Service" }}
- apiGroups: [{{ $of.group }}]
  resources: [{{ $of.resource }}]
  verbs: [{{ has $kind $.Values.controller.targets | ternary "get, list, watch, update" "list" }}]
{{- end }}
{{- end }}
{{- if and .Values.rbac.middlewares $front }}
# To warn of what would hide a page from visitors.
- apiGroups: [traefik.io]
  resources: [middlewares]
  verbs: [get]
{{- end }}
{{- $c := .Values.controller }}
{{- if and $routes (or $c.ingressClasses $c.settleTimeClasses .Values.pagePods.service.classes) }}
# The class of a route is that of its Gateways.
- apiGroups: [gateway.networking.k8s.io]
  resources: [gateways]
  verbs: [get]
{{- end }}
# Page sets, backups of originals, and the pages that people write.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, update, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, update]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, create, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, delete]
{{- if ne .Values.pagePods.networkPolicy "never" }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, watch, create, update]
{{- end }}
# To see that a page set serves before visitors are sent to it.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- if .Values.checkers.enabled }}
# To say in the status of ServiceCheckers which Services can serve.
- apiGroups: [maintenance-controller.io]
  resources: [servicecheckers]
  verbs: [list, watch]
- apiGroups: [maintenance-controller.io]
  resources: [servicecheckers/status]
  verbs: [patch]
{{- end }}
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- if $c.watchLeases }}
# To see that those who hold maintenance up still do: Leases that a target names.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, list, watch]
{{- end }}
{{- end }}

{{/* What Services as targets take beside: to take away the origin of one whose maintenance has ended. */}}
{{- define "maintenance.serviceRights" -}}
- apiGroups: [""]
  resources: [services]
  verbs: [delete]
{{- end }}

{{/* What a binding says, from (root, kind of role, its name, ServiceAccount). */}}
{{- define "maintenance.binds" -}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ index . 1 }}
  name: {{ index . 2 }}
subjects:
  - kind: ServiceAccount
    name: {{ index . 3 }}
    namespace: {{ (index . 0).Release.Namespace }}
{{- end }}
