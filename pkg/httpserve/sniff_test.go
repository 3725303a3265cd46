package httpserve

import (
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
		{"an unusual method", "!x / HTTP/1.1\r\n", HTTP1},
		{"an empty line first", "\r\nGET /", HTTP1},
		{"P, of POST or PRI", "P", Undecided},
		{"POST", "PO", HTTP1},
		{"PRIVATE is a method", "PRIV", HTTP1},
		{"half a preface", "PRI * HTTP/2.0\r\n\r\nS", Undecided},
		{"a preface", preface, HTTP2},
		{"a preface and a frame", preface + "\x00\x00\x00\x04", HTTP2},
		{"a preface with a wrong end", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", Unknown},
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

func TestProxyPreamble(t *testing.T) {
	const v2 = proxyV2 + "\x21\x11\x00\x0c" + "abcdefghijkl"
	for _, test := range []struct {
		name, first string
		want        preamble
		speaks      Protocol
	}{
		{"none", "GET / HTTP/1.1\r\n", preamble{}, HTTP1},
		{"one letter", "P", preamble{more: true}, Undecided},
		{"POST", "POST", preamble{}, HTTP1},
		{"version 1", "PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\nG", preamble{size: 37}, HTTP1},
		{"version 1, IPv6", "PROXY TCP6 ::1 ::2 1 80\r\n" + preface, preamble{size: 25}, HTTP2},
		{"version 1, from a health check", "PROXY UNKNOWN\r\n\x16\x03\x01\x02\x00\x01", preamble{size: 15}, TLS},
		{"half of version 1", "PROXY TCP4 192.0.2.1", preamble{more: true}, Undecided},
		{"version 1 and nothing else yet", "PROXY UNKNOWN\r\n", preamble{size: 15}, Undecided},
		{"version 1 that does not end", "PROXY TCP4 " + strings.Repeat("1", 200), preamble{}, HTTP1},
		{"a method", "PROXY / HTTP/1.1\r\n", preamble{}, HTTP1},
		{"version 2", v2 + "GET", preamble{size: len(v2)}, HTTP1},
		{"half of version 2", v2[:20], preamble{more: true}, Undecided},
		{"an empty line first", "\r\nGET", preamble{}, HTTP1},
		{"version 2 without end", proxyV2 + "\x21\x11\xff\xff", preamble{}, HTTP1},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := proxyPreamble([]byte(test.first))
			if got != test.want || got.protocol([]byte(test.first)) != test.speaks {
				t.Errorf("%+v, then %s; want %+v, then %s", got, got.protocol([]byte(test.first)), test.want, test.speaks)
			}
		})
	}
}

func FuzzProxyPreamble(f *testing.F) {
	for _, seed := range []string{"PROXY TCP4 a b 1 2\r\nGET", proxyV2 + "\x21\x11\x00\x01aGET", "P", "\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p := proxyPreamble(b)
		if !p.more && p.size > len(b) || p.size > proxyV2Max {
			t.Fatalf("%q: %+v", b, p)
		}
		if p.more && len(b) > proxyV2Max {
			t.Fatalf("after %q it still waits for more", b)
		}
	})
}
