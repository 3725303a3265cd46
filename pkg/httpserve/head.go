package httpserve

import (
	"bytes"
	"net"
	"strings"
	"unsafe"
)

// Request is a plain HTTP/1.1 request. Its strings are views of a buffer that is
// used again: whoever keeps one after Direct.Answer clones it.
type Request struct {
	Method string
	Target string // origin-form: path and query, as it came
	Host   string
	Fields []Field
	Remote net.Addr

	// Length of the content in bytes. There is no transfer coding in a plain request.
	Length int64
	// Close says that the client, or this server, ends the connection after this.
	Close bool
}

// Field is one header field, without the whitespace around its value.
type Field struct{ Name, Value string }

// verdict is what can be said of the bytes that have come so far.
type verdict uint8

const (
	incomplete verdict = iota
	plain
	unusual // not for the direct lane; net/http knows what to do
)

const maxFields = 64

// headEnd finds the end of a head, also of one with bare line feeds. It returns
// 0 while there is none.
func headEnd(b []byte) int {
	for i := 0; ; {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			return 0
		}
		i += j + 1
		if i < len(b) && b[i] == '\n' {
			return i + 1
		}
		if i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' {
			return i + 2
		}
	}
}

// parseHead reads one request's head into r and returns its length in bytes.
// It is strict: whatever is rare, doubtful or could be read in two ways is
// unusual and goes to net/http. So nothing here can be read otherwise there
// than here, which is what request smuggling lives on.
func parseHead(b []byte, r *Request) (int, verdict) {
	end := headEnd(b)
	if end == 0 {
		return 0, incomplete
	}
	// Copying the head would be the only allocation of a request. The string and
	// all that is cut from it are views of the scratch: see Direct.
	head := unsafe.String(unsafe.SliceData(b), end) //nolint:gosec // b is not written to until the answer is put together
	*r = Request{Fields: r.Fields[:0], Remote: r.Remote}
	line, rest, ok := strings.Cut(head, "\r\n")
	if !ok || !parseRequestLine(line, r) {
		return end, unusual
	}
	seen := special{}
	for rest != "\r\n" {
		line, rest, ok = strings.Cut(rest, "\r\n")
		if !ok || rest == "" || len(r.Fields) == maxFields {
			return end, unusual
		}
		f, ok := parseField(line)
		if !ok || !seen.take(f, r) {
			return end, unusual
		}
		r.Fields = append(r.Fields, f)
	}
	if !seen.host {
		return end, unusual
	}
	return end, plain
}

func parseRequestLine(line string, r *Request) bool {
	method, rest, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(rest, " ")
	if version != "HTTP/1.1" || target == "" || target[0] != '/' || !isMethod(method) {
		return false
	}
	for i := range len(target) {
		if target[i] <= ' ' || target[i] > '~' {
			return false
		}
	}
	r.Method, r.Target = method, target
	return true
}

// isMethod knows methods that mean nothing special to an HTTP server.
func isMethod(s string) bool {
	switch s {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return true
	}
	return false
}

func parseField(line string) (Field, bool) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" {
		return Field{}, false
	}
	for i := range len(name) {
		if !isTokenByte(name[i]) {
			return Field{}, false
		}
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return Field{}, false
		}
	}
	return Field{name, strings.Trim(value, " \t")}, true
}

// special holds which of the fields that frame a message were seen.
type special struct{ host, length bool }

// take looks at the fields that change how a message is read. It returns false
// for what the direct lane leaves to net/http.
func (s *special) take(f Field, r *Request) bool {
	switch len(f.Name) {
	case len("Host"):
		if strings.EqualFold(f.Name, "Host") {
			if s.host || !isHost(f.Value) {
				return false
			}
			s.host, r.Host = true, f.Value
		}
	case len("Content-Length"):
		if strings.EqualFold(f.Name, "Content-Length") {
			if s.length {
				return false
			}
			s.length = true
			r.Length = parseLength(f.Value)
			return r.Length >= 0
		}
	case len("Connection"):
		if strings.EqualFold(f.Name, "Connection") {
			r.Close = r.Close || strings.EqualFold(f.Value, "close")
			return strings.EqualFold(f.Value, "close") || strings.EqualFold(f.Value, "keep-alive")
		}
	case len("Transfer-Encoding"):
		return !strings.EqualFold(f.Name, "Transfer-Encoding")
	case len("Upgrade"):
		return !strings.EqualFold(f.Name, "Upgrade") && !strings.EqualFold(f.Name, "Trailer")
	case len("Expect"):
		return !strings.EqualFold(f.Name, "Expect")
	}
	return true
}

func isHost(s string) bool {
	for i := range len(s) {
		c := s[i]
		if ('0' > c || c > '9') && ('a' > c || c > 'z') && ('A' > c || c > 'Z') && strings.IndexByte(".-_:[]", c) < 0 {
			return false
		}
	}
	return s != ""
}

// parseLength reads a Content-Length, or returns -1.
func parseLength(s string) int64 {
	if s == "" || len(s) > 15 {
		return -1
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n
}
