{{- /*
Puts the keys of a page's ConfigMap into a dict, to keep them byte for byte: the text that a template returns would not.
*/}}
{{- define "maintenance.page.data" }}
{{- $data := .data }}
{{- $page := .page }}
{{- range $key, $from := include "maintenance.page.keys" . | fromJson }}
{{- with get $page $from }}{{ $_ := set $data $key . }}{{ end }}
{{- end }}
{{- with $page.htmlBase64 }}{{ $_ := set $data "page.html" (nospace . | b64dec) }}{{ end }}
{{- with $page.httpStatusCode }}{{ $_ := set $data "status" (toString .) }}{{ end }}
{{- with $page.retryAfter }}{{ $_ := set $data "retry-after" (toString .) }}{{ end }}
{{- range $key, $value := $page.files | default dict }}
{{- if not (hasKey $data $key) }}{{ $_ := set $data $key $value }}{{ end }}
{{- end }}
{{- end }}

{{- define "maintenance.page.keys" }}
{{- dict "page.html" "html" "page.json" "json" "page.xml" "xml" "page.txt" "text" "content-security-policy" "contentSecurityPolicy" | toJson }}
{{- end }}

{{- /*
The faults of a page, as a JSON list. These are the checks of maintenance-controller check-pages, and so the controller's;
a test gives the same pages to both.
*/}}
{{- define "maintenance.page.faults" }}
{{- $faults := list }}
{{- $name := .name }}
{{- $page := .page }}
{{- $mark := "\ufeff" }}
{{- $base64 := nospace ($page.htmlBase64 | default "") }}
{{- $given := dict }}
{{- if and $page.html $base64 }}
{{- $faults = append $faults (printf "%s has both html and htmlBase64. Keep one of them." $name) }}
{{- end }}
{{- if or (not (regexMatch "^[A-Za-z0-9+/]*={0,2}$" $base64)) (ne (mod (len $base64) 4) 0) }}
{{- $faults = append $faults (printf "%s.htmlBase64 is not base64. Set plain HTML as html, or encode it with base64 -w0." $name) }}
{{- $page = omit $page "htmlBase64" }}
{{- end }}
{{- include "maintenance.page.data" (dict "page" (omit $page "files") "data" $given) }}
{{- range $file, $_ := $page.files }}
{{- if hasKey $given $file }}
{{- $faults = append $faults (printf "%s.files has %s, which is also set outside of files. Keep one of them." $name $file) }}
{{- end }}
{{- end }}
{{- $data := dict }}
{{- include "maintenance.page.data" (dict "page" $page "data" $data) }}
{{- $values := include "maintenance.page.keys" . | fromJson }}
{{- if $base64 }}{{ $_ := set $values "page.html" "htmlBase64" }}{{ end }}
{{- $size := 0 }}
{{- $languages := dict }}
{{- range $key, $raw := $data }}
{{- $size = add $size (len $key) (len $raw) }}
{{- $value := printf "%s.files: %s" $name $key }}
{{- if hasKey $given $key }}{{ $value = printf "%s.%s" $name (get $values $key) }}{{ end }}
{{- $text := regexReplaceAll (printf "^%s+" $mark) $raw "" }}
{{- $escaped := toJson $text | replace "\\\\" "" }}
{{- $blank := not (replace $mark "" $text | trim) }}
{{- if contains "\\ufffd" $escaped }}
{{- $faults = append $faults (printf "%s is not UTF-8. Save the file as UTF-8." $value) }}
{{- else if contains "\\u0000" $escaped }}
{{- $faults = append $faults (printf "%s has NUL characters, which suggests UTF-16. Save the file as UTF-8." $value) }}
{{- else if eq $key "content-security-policy" }}
{{- if or $blank (gt (len (trim $text)) 4096) (not (regexMatch "^[ -~]+$" (trim $text))) }}
{{- $faults = append $faults (printf "%s: write the policy on one line of ASCII, 1 to 4096 bytes, or remove it to send none." $value) }}
{{- end }}
{{- else if $blank }}
{{- $faults = append $faults (printf "%s is empty. Fill it, or remove it to use the default page's." $value) }}
{{- else if hasSuffix ".json" $key }}
{{- $read := fromJsonArray (printf "[0,%s]" $text) }}
{{- if ne (len $read) 2 }}
{{- $faults = append $faults (printf "%s is not JSON: %v." $value (first $read)) }}
{{- end }}
{{- else if hasSuffix ".xml" $key }}
{{- with include "maintenance.xml.fault" (regexReplaceAll (printf "^[ \\t\\r\\n%s]+" $mark) $text "") }}
{{- $faults = append $faults (printf "%s is not well-formed XML: %s." $value .) }}
{{- end }}
{{- end }}
{{- if hasKey $languages (lower $key) }}
{{- $faults = append $faults (printf "%s.files: %s and %s are the same language. Keep one of them." $name (get $languages (lower $key)) $key) }}
{{- end }}
{{- $_ := set $languages (lower $key) $key }}
{{- end }}
{{- if gt $size 983040 }}
{{- $faults = append $faults (printf "%s: the page has %d bytes, but at most 983040 fit into a ConfigMap. Make images smaller or link to them." $name $size) }}
{{- end }}
{{- toJson $faults }}
{{- end }}
