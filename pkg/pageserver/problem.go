package pageserver

import (
	"encoding/json"
	"net/http"
	"strings"
)

// problemVariant makes the base of a problem document (RFC 9457) from a page's JSON.
// appendProblem adds instance and retryAfter, which depend on the request.
//
//	page.json has…          the problem has…
//	a string "type"         that, with page.json's "title"
//	no "type"               "about:blank", whose title is the status phrase (RFC 9457 4.2.1)
//	"detail" or "message"   that as "detail", if it is a string
//	other members           those, as extension members
//	no object               only "type", "title", "status", "instance", "retryAfter"
//
// If it is known when maintenance ends, "until" replaces the page's own.
func problemVariant(language, body string, status int, h headers) variant {
	var members map[string]any
	if json.Unmarshal([]byte(body), &members) != nil || members == nil {
		members = map[string]any{}
	}
	if kind, ok := members["type"].(string); !ok || kind == "" {
		members["type"] = "about:blank"
		delete(members, "title")
	}
	if _, ok := members["title"].(string); !ok {
		members["title"] = statusText(status)
	}
	if _, ok := members["detail"].(string); !ok {
		delete(members, "detail")
		if message, ok := members["message"].(string); ok {
			members["detail"] = message
			delete(members, "message")
		}
	}
	members["status"] = status
	delete(members, "instance")
	delete(members, "retryAfter")
	if h.until != "" {
		members["until"] = h.until
	}
	base, err := json.Marshal(members)
	if err != nil { // it was JSON before
		base = []byte(`{"type":"about:blank"}`)
	}
	return variant{language: language, plain: newContent(base, h.page(Problem, language, "", ""))}
}

// appendProblem completes the base document for one request. The path becomes the instance
// only if it has just the plain characters of a URI's path (RFC 3986 3.3), which need no
// escaping.
func appendProblem(dst, base []byte, retryAfter, path string) []byte {
	dst = append(dst, base[:len(base)-1]...)
	if isPlainPath(path) {
		dst = append(dst, `,"instance":"`...)
		dst = append(dst, path...)
		dst = append(dst, '"')
	}
	dst = append(dst, `,"retryAfter":`...)
	dst = append(dst, retryAfter...)
	return append(dst, "}\n"...)
}

const maxInstance = 1024 // bytes

func isPlainPath(path string) bool {
	if path == "" || path[0] != '/' || len(path) > maxInstance {
		return false
	}
	for i := range len(path) {
		c := path[i]
		if !isDigit(c) && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte("/-._~%:@!$()*+,;=", c) < 0 {
			return false
		}
	}
	return true
}

// statusText is never empty: a status without a name gets that of its class (RFC 9110 15: an
// unknown status is treated as x00).
func statusText(status int) string {
	if text := http.StatusText(status); text != "" {
		return text
	}
	return http.StatusText(status / 100 * 100)
}
