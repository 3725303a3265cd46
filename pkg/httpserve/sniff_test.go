package httpserve

import (
	"bufio"
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

func TestSniff(t *testing.T) {
	for _, test := range []struct {
		name, first string
		want        Protocol
	}{
		{"nothing yet", "", Undecided},
		{"GET", "GET / HTTP/1.1\r\n", HTTP1},
		{"one letter", "G", HTTP1},
		{"an own method", "!x / HTTP/1.1\r\n", HTTP1},
		{"an empty line first", "\r\nGET /", HTTP1},
		{"P, of POST or PRI", "P", Undecided},
		{"POST", "PO", HTTP1},
		{"PRIVATE is a method", "PRIV", HTTP1},
		{"half a preface", "PRI * HTTP/2.0\r\n\r\nS", Undecided},
		{"a preface", preface, HTTP2},
		{"a preface and a frame", preface + "\x00\x00\x00\x04", HTTP2},
		{"a preface with another end", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Unknown},
		{"PRI with a path", "PRI /", Unknown},
		{"TLS 1.3", "\x16\x03\x01\x02\x00\x01", TLS},
		{"SSL 3.0", "\x16\x03\x00\x02\x00\x01", TLS},
		{"one byte of TLS", "\x16", Undecided},
		{"a record's head", "\x16\x03\x01\x02\x00", Undecided},
		{"no ClientHello", "\x16\x03\x01\x02\x00\x02", Unknown},
		{"SSL 2", "\x80\x2e\x01", Unknown},
		{"no such version", "\x16\x09", Unknown},
		{"no such minor version", "\x16\x03\x09", Unknown},
		{"TLS application data", "\x17\x03\x03", Unknown},
		{"zeros", "\x00\x00\x00", Unknown},
		{"a blank", " GET /", Unknown},
		{"UTF-8", "é", Unknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Sniff([]byte(test.first)); got != test.want {
				t.Errorf("%q is %s, want %s", test.first, got, test.want)
			}
		})
	}
}

func FuzzSniff(f *testing.F) {
	for _, seed := range []string{"", "GET / HTTP/1.1\r\n\r\n", preface, "PRI ", "\x16\x03\x01\x02\x00\x01", "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		decided := Undecided
		for n := range len(b) + 1 {
			got := Sniff(b[:n])
			if decided != Undecided && got != decided {
				t.Fatalf("%q is %s after %d bytes, was %s before", b, got, n, decided)
			}
			decided = got
		}
		if len(b) >= len(preface) && decided == Undecided {
			t.Errorf("%q stays undecided", b)
		}
	})
}

func TestParseHead(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: a\r\n"
	for _, test := range []struct {
		name, head string
		want       verdict
	}{
		{"the least", get + "\r\n", plain},
		{"with fields", get + "Accept: */*\r\nX:\r\nY: \t é\t \r\n\r\n", plain},
		{"keep-alive", get + "Connection: Keep-Alive\r\n\r\n", plain},
		{"a length", get + "Content-Length: 5\r\n\r\n", plain},
		{"a port", "GET / HTTP/1.1\r\nhost: a.b:80\r\n\r\n", plain},
		{"IPv6", "GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n", plain},
		{"not all there", get, incomplete},
		{"half an end", get + "\r", incomplete},
		{"nothing", "", incomplete},

		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", unusual},
		{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", unusual},
		{"no version", "GET /\r\nHost: a\r\n\r\n", unusual},
		{"no host", "GET / HTTP/1.1\r\n\r\n", unusual},
		{"two hosts", get + "Host: a\r\n\r\n", unusual},
		{"a strange host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", unusual},
		{"two blanks", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", unusual},
		{"a blank in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", unusual},
		{"a byte over ASCII in the target", "GET /é HTTP/1.1\r\nHost: a\r\n\r\n", unusual},
		{"absolute form", "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", unusual},
		{"asterisk form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", unusual},
		{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", unusual},
		{"another method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", unusual},
		{"chunked", get + "Transfer-Encoding: chunked\r\n\r\n", unusual},
		{"an expectation", get + "Expect: 100-continue\r\n\r\n", unusual},
		{"an upgrade", get + "Upgrade: websocket\r\n\r\n", unusual},
		{"a trailer", get + "Trailer: x\r\n\r\n", unusual},
		{"other connection options", get + "Connection: keep-alive, TE\r\n\r\n", unusual},
		{"two lengths", get + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", unusual},
		{"a list of lengths", get + "Content-Length: 5, 5\r\n\r\n", unusual},
		{"a signed length", get + "Content-Length: +5\r\n\r\n", unusual},
		{"an empty length", get + "Content-Length:\r\n\r\n", unusual},
		{"an endless length", get + "Content-Length: 99999999999999999999\r\n\r\n", unusual},
		{"a blank before the colon", get + "Accept : a\r\n\r\n", unusual},
		{"a folded line", get + "Accept: a\r\n b\r\n\r\n", unusual},
		{"no colon", get + "Accept\r\n\r\n", unusual},
		{"no name", get + ": a\r\n\r\n", unusual},
		{"a zero byte", get + "Accept: \x00\r\n\r\n", unusual},
		{"a carriage return in a value", get + "Accept: a\rb\r\n\r\n", unusual},
		{"bare line feeds", "GET / HTTP/1.1\nHost: a\n\n", unusual},
		{"a bare line feed at the end", get + "\n", unusual},
		{"a bare line feed between", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", unusual},
		{"an empty line first", "\r\n" + get + "\r\n", unusual},
		{"too many fields", get + strings.Repeat("A: b\r\n", maxFields) + "\r\n", unusual},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r Request
			if _, got := parseHead([]byte(test.head), &r); got != test.want {
				t.Errorf("%q is %d, want %d: %+v", test.head, got, test.want, r)
			}
		})
	}
}

// What the direct lane takes, net/http must read in the same way: the same
// bytes, method, target, host, length and fields.
func FuzzParseHead(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST /x?y HTTP/1.1\r\nHost: a:80\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabcGET",
		"GET / HTTP/1.1\r\nHost: a\r\nAccept: a\r\nAccept: b\r\n\r\n", "\n\n", "GET / HTTP/1.1\nHost: a\n\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		size, v := parseHead(b, &r)
		if v != plain {
			return
		}
		source := bytes.NewReader(b)
		reader := bufio.NewReader(source)
		want, err := http.ReadRequest(reader)
		if err != nil {
			if strings.Contains(err.Error(), "invalid URL escape") || strings.Contains(err.Error(), "parse ") {
				return // the direct lane does not look into the path, and answers with the page
			}
			t.Fatalf("net/http refuses %q: %v", b, err)
		}
		if left := source.Len() + reader.Buffered(); left != len(b)-size {
			t.Errorf("%q: the head has %d bytes, for net/http %d", b, size, len(b)-left)
		}
		if r.Method != want.Method || r.Target != want.RequestURI || r.Host != want.Host || r.Close != want.Close || r.Length != want.ContentLength || len(want.TransferEncoding) > 0 {
			t.Errorf("%q: %+v, for net/http %+v", b, r, want)
		}
		for _, field := range r.Fields {
			if values := want.Header.Values(field.Name); !strings.EqualFold(field.Name, "Host") && !contains(values, field.Value) {
				t.Errorf("%q: %s is %q, for net/http %q", b, field.Name, field.Value, values)
			}
		}
	})
}

func contains(values []string, value string) bool {
	for _, v := range values {
		if v == value {
			return true
		}
	}
	return false
}

func BenchmarkParseHead(b *testing.B) {
	head := []byte("GET /some/path?with=query HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: de-DE,de;q=0.9,en;q=0.8\r\nCookie: session=" + strconv.Itoa(1<<60) + "\r\n\r\n")
	r := Request{Fields: make([]Field, 0, maxFields)}
	b.ReportAllocs()
	for b.Loop() {
		if _, v := parseHead(head, &r); v != plain {
			b.Fatal("not plain")
		}
	}
}
