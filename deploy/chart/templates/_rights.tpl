{{/* The controller's rights in the namespaces that it serves. It has no access to Secrets. */}}
{{- define "maintenance.rights" -}}
{{- $kinds := include "maintenance.kinds" . | fromYaml -}}
# Targets: their metadata is watched, and they are read and updated one at a time. Objects of other kinds are listed, because
# a page set that one of them uses must not be deleted. The rights for Services are among those for page sets.
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
# To warn of middlewares that hide the page from visitors.
- apiGroups: [traefik.io]
  resources: [middlewares]
  verbs: [get]
{{- end }}
{{- $c := .Values.controller }}
{{- if and $routes (or $c.ingressClasses $c.settleTimeClasses .Values.pagePods.service.classes) }}
# To find out the class of a route, which is that of its Gateways.
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
# To see whether a page set serves before visitors are sent to it.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- if .Values.checkers.enabled }}
# To report in the status of ServiceCheckers which Services can serve.
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
# To see whether the Leases that targets name are still renewed.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, list, watch]
{{- end }}
{{- end }}

{{/* Additional rights for Services as targets: to delete the origin Service after maintenance. */}}
{{- define "maintenance.serviceRights" -}}
- apiGroups: [""]
  resources: [services]
  verbs: [delete]
{{- end }}

{{/* The contents of a binding, from (root, kind of role, its name, ServiceAccount). */}}
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
