{{- /*
Says why a document is not well-formed XML, or nothing. Helm has no function that reads XML, so this uses the expressions of
pkg/page/xml.go, which a test compares. If in doubt, maintenance-controller check-pages decides.
*/}}
{{- define "maintenance.xml.fault" }}
{{- $ncname := `[A-Z_a-z\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{2FF}\x{370}-\x{37D}\x{37F}-\x{1FFF}\x{200C}-\x{200D}\x{2070}-\x{218F}\x{2C00}-\x{2FEF}\x{3001}-\x{D7FF}\x{F900}-\x{FDCF}\x{FDF0}-\x{FFFD}\x{10000}-\x{EFFFF}][A-Z_a-z\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{2FF}\x{370}-\x{37D}\x{37F}-\x{1FFF}\x{200C}-\x{200D}\x{2070}-\x{218F}\x{2C00}-\x{2FEF}\x{3001}-\x{D7FF}\x{F900}-\x{FDCF}\x{FDF0}-\x{FFFD}\x{10000}-\x{EFFFF}0-9.\x{B7}\x{300}-\x{36F}\x{203F}-\x{2040}-]*` }}
{{- $decimal := `0*(?:9|1[03]|3[2-9]|[4-9][0-9]|[1-9][0-9]{2,3}|[1-4][0-9]{4}|5[0-4][0-9]{3}|55[01][0-9]{2}|552[0-8][0-9]|5529[0-5]|5734[4-9]|573[5-9][0-9]|57[4-9][0-9]{2}|5[89][0-9]{3}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-36-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4}|[1-9][0-9]{5}|10[0-9]{5}|110[0-9]{4}|111[0-3][0-9]{3}|11140[0-9]{2}|111410[0-9]|111411[01])` }}
{{- $hexadecimal := `0*(?:9|[AaDd]|[2-9A-Fa-f][0-9A-Fa-f]|[1-9A-Fa-f][0-9A-Fa-f]{2}|[1-9A-Ca-cEe][0-9A-Fa-f]{3}|[Dd][0-7][0-9A-Fa-f]{2}|[Ff](?:[0-9A-Ea-e][0-9A-Fa-f]{2}|[Ff](?:[0-9A-Ea-e][0-9A-Fa-f]|[Ff][0-9A-Da-d]))|(?:[1-9A-Fa-f]|10)[0-9A-Fa-f]{4})` }}
{{- $s := `[ \t\r\n]` }}
{{- $name := printf `(?:%s:)?%s` $ncname $ncname }}
{{- $ref := printf `&(?:lt|gt|amp|quot|apos|#%s|#x%s);` $decimal $hexadecimal }}
{{- $attribute := printf `%s%s*=%s*(?:"(?:[^<&"]|%s)*"|'(?:[^<&']|%s)*')` $name $s $s $ref $ref }}
{{- $public := `a-zA-Z0-9()+,./:=?;!*#@$_%-` }}
{{- $literal := `(?:"[^"]*"|'[^']*')` }}
{{- $token := join "|" (list
  `<!--(?:[^-]|-[^-])*-->`
  `<!\[CDATA\[(?s:.*?)\]\]>`
  (printf `<\?%s(?:%s(?s:.*?))?\?>` $ncname $s)
  (printf `<!DOCTYPE%s+%s(?:%s+(?:SYSTEM|PUBLIC%s+(?:"[ \r\n'%s]*"|'[ \r\n%s]*'))%s+%s)?%s*>` $s $name $s $s $public $public $s $literal $s)
  (printf `</%s%s*>` $name $s)
  (printf `<%s(?:%s+%s)*%s*/?>` $name $s $attribute $s)
  (printf `(?:[^<&]|%s)+` $ref)) }}
{{- $declaration := printf `^<\?xml%[1]s+version%[1]s*=%[1]s*(?:"1\.0"|'1\.0')(?:%[1]s+encoding%[1]s*=%[1]s*(?:"[A-Za-z][A-Za-z0-9._-]*"|'[A-Za-z][A-Za-z0-9._-]*'))?(?:%[1]s+standalone%[1]s*=%[1]s*(?:"(?:yes|no)"|'(?:yes|no)'))?%[1]s*\?>` $s }}

{{- $declared := regexFind $declaration . }}
{{- $encoding := regexFind `encoding[^"']*["'][^"']*` $declared | regexFind `[^"']*$` }}
{{- $foreign := and $encoding (ne (lower $encoding) "utf-8") (or (regexMatch `[^\x00-\x7F]` .) (not (regexMatch `^(?i:us-ascii|iso-8859-[0-9]+|windows-125[0-8])$` $encoding))) }}
{{- $rest := trimPrefix $declared . }}
{{- $tokens := regexFindAll $token $rest -1 }}
{{- if regexMatch `[^\x09\x0A\x0D\x20-\x{D7FF}\x{E000}-\x{FFFD}\x{10000}-\x{10FFFF}]` . }}it has characters that XML does not allow
{{- else if $foreign }}it declares the encoding {{ $encoding }}, but is served as UTF-8: declare UTF-8 and save the file as UTF-8
{{- else if ne (join "" $tokens) $rest }}something in it is not XML syntax
{{- else }}
{{- $walk := dict "fault" "" "root" false "dtd" false "open" list "scopes" (list (dict "xml" "http://www.w3.org/XML/1998/namespace")) }}
{{- range $tokens }}
{{- if $walk.fault }}
{{- else if hasPrefix "<!--" . }}
{{- else if hasPrefix "<?" . }}
{{- if regexMatch `(?i)^<\?xml[ \t\r\n?]` . }}{{ $_ := set $walk "fault" "the XML declaration must be at the very start, once, with version 1.0" }}{{ end }}
{{- else if hasPrefix "<!DOCTYPE" . }}
{{- if or $walk.root $walk.dtd }}{{ $_ := set $walk "fault" "the document type must come before the first element, once" }}{{ end }}
{{- $_ := set $walk "dtd" true }}
{{- else if hasPrefix "</" . }}
{{- $closed := regexFind (printf `^%s` $name) (trimPrefix "</" .) }}
{{- if ne $closed (last $walk.open | default "") }}
{{- $_ := set $walk "fault" (printf "</%s> closes no open element" $closed) }}
{{- else }}
{{- $_ := set $walk "open" (initial $walk.open) }}
{{- $_ := set $walk "scopes" (initial $walk.scopes) }}
{{- end }}
{{- else if hasPrefix "<![CDATA[" . }}
{{- if not $walk.open }}{{ $_ := set $walk "fault" "there is text outside the root element" }}{{ end }}
{{- else if hasPrefix "<" . }}
{{- include "maintenance.xml.element" (dict "walk" $walk "tag" . "name" $name "attribute" $attribute) }}
{{- else if contains "]]>" . }}
{{- $_ := set $walk "fault" "text contains \"]]>\": write ]]&gt;" }}
{{- else if and (not $walk.open) (regexMatch `[^ \t\r\n]` .) }}
{{- $_ := set $walk "fault" "there is text outside the root element" }}
{{- end }}
{{- end }}
{{- if $walk.fault }}{{ $walk.fault }}
{{- else if not $walk.root }}it has no element
{{- else if $walk.open }}element {{ last $walk.open | quote }} is not closed
{{- end }}
{{- end }}
{{- end }}

{{- define "maintenance.xml.element" }}
{{- $walk := .walk }}
{{- $name := regexFind (printf `^%s` .name) (trimPrefix "<" .tag) }}
{{- $attributes := list }}
{{- $scope := dict }}
{{- range regexFindAll .attribute (.tag | trimPrefix "<" | trimPrefix $name) -1 }}
{{- $attribute := regexFind (printf `^%s` $.name) . }}
{{- $attributes = append $attributes $attribute }}
{{- if or (eq $attribute "xmlns") (hasPrefix "xmlns:" $attribute) }}
{{- $prefix := trimPrefix "xmlns" $attribute | trimPrefix ":" }}
{{- $uri := regexReplaceAll `(?s)^[^=]*=[ \t\r\n]*.(.*).$` . "${1}" }}
{{- if or (eq $uri "http://www.w3.org/2000/xmlns/") (ne (eq $uri "http://www.w3.org/XML/1998/namespace") (eq $prefix "xml")) (eq $prefix "xmlns") (and $prefix (not $uri)) }}
{{- $_ := set $walk "fault" (printf "%s=%q is not a valid namespace declaration" $attribute $uri) }}
{{- end }}
{{- if $prefix }}{{ $_ := set $scope $prefix $uri }}{{ end }}
{{- end }}
{{- end }}
{{- $scope = merge $scope (last $walk.scopes) }}
{{- $expanded := list }}
{{- range prepend $attributes $name }}
{{- $parts := splitList ":" . }}
{{- if or (eq (len $parts) 1) (eq (first $parts) "xmlns") }}
{{- $expanded = append $expanded . }}
{{- else if not (hasKey $scope (first $parts)) }}
{{- $_ := set $walk "fault" (printf "prefix %q of %q is not declared" (first $parts) .) }}
{{- else }}
{{- $expanded = append $expanded (printf "%s %s" (get $scope (first $parts)) (last $parts)) }}
{{- end }}
{{- end }}
{{- if hasPrefix "xmlns:" $name }}{{ $_ := set $walk "fault" (printf "prefix \"xmlns\" of %q is not declared" $name) }}{{ end }}
{{- if and (not $walk.fault) (ne (len (rest $expanded | uniq)) (len $attributes)) }}
{{- $_ := set $walk "fault" (printf "<%s> has an attribute twice" $name) }}
{{- end }}
{{- if and $walk.root (not $walk.open) }}{{ $_ := set $walk "fault" (printf "<%s> is a second root element" $name) }}{{ end }}
{{- $_ := set $walk "root" true }}
{{- if not (hasSuffix "/>" .tag) }}
{{- $_ := set $walk "open" (append $walk.open $name) }}
{{- $_ := set $walk "scopes" (append $walk.scopes $scope) }}
{{- end }}
{{- end }}
