{{- define "maintenance.alerts" -}}
{{- $rule := .Values.metrics.prometheusRule -}}
{{- $labels := merge (dict) $rule.alertLabels (dict "severity" "warning") -}}
groups:
  - name: {{ include "maintenance.fullname" . }}
    rules:
      - alert: LongMaintenance
        expr: max(maintenance_oldest_start_timestamp_seconds) > 0 and time() - max(maintenance_oldest_start_timestamp_seconds) > {{ mul $rule.longHours 3600 }}
        labels:
          {{- toYaml $labels | nindent 10 }}
        annotations:
          summary: Something has been in maintenance for more than {{ $rule.longHours }} hours
          description: Search engines drop pages that answer 503 for longer than a day or two. Was it forgotten?
      - alert: MaintenanceBlocked
        expr: sum by (kind) (maintenance_targets{state="blocked"}) > 0
        for: 5m
        labels:
          {{- toYaml $labels | nindent 10 }}
        annotations:
          summary: {{ "'{{ $value }} {{ $labels.kind }} blocked: cannot enter or leave maintenance until somebody acts'" }}
          description: The annotation maintenance/message of each object says what to do.
      - alert: MaintenanceContested
        expr: sum by (kind) (maintenance_targets{state="contested"}) > 0
        for: 5m
        labels:
          {{- toYaml $labels | nindent 10 }}
        annotations:
          summary: {{ "'{{ $value }} {{ $labels.kind }} contested: another tool keeps reverting the backends'" }}
          description: Visitors alternate between the page and the app. The event BackendReverted names the tool.
      - alert: MaintenanceRestoreFailing
        expr: sum by (kind) (maintenance_unrestored_targets) > 0
        for: 5m
        labels:
          {{- toYaml $labels | nindent 10 }}
        annotations:
          summary: {{ "'{{ $value }} {{ $labels.kind }} not restored after maintenance'" }}
          description: Visitors may still get the page. The events RestoreFailed and BackendLost say why.
      - alert: MaintenanceControllerDown
        expr: absent(maintenance_leader == 1)
        for: 5m
        labels:
          {{- toYaml $labels | nindent 10 }}
        annotations:
          summary: No replica of maintenance-controller is active
          description: Targets in maintenance stay in it, and no other target enters or leaves maintenance.
{{- end }}
