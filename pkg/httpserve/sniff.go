package httpserve

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Protocol of a connection, by its first bytes.
type Protocol uint8

// The protocols.
const (
	Undecided Protocol = iota // more bytes are necessary
	HTTP1                     // HTTP/1.0 or HTTP/1.1
	HTTP2                     // without TLS, with prior knowledge (RFC 9113 3.3)
	TLS                       // of any protocol inside
	Unknown                   // none of these
	protocols
)

// String is the protocol's name in metrics.
func (p Protocol) String() string {
	return [...]string{"undecided", "http1", "h2c", "tls", "unknown"}[p]
}

const (
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // RFC 9113 3.4

	recordHandshake = 0x16 // RFC 8446 5.1
	clientHello     = 0x01 // RFC 8446 4
	recordHead      = 5    // bytes before the handshake message
)

// Sniff recognises the protocol by the first bytes of a connection. Once it returns anything
// but Undecided, more bytes do not change the result.
func Sniff(b []byte) Protocol {
	switch {
	case len(b) == 0:
		return Undecided
	case b[0] == recordHandshake:
		return sniffTLS(b)
	case strings.HasPrefix(preface, string(b[:min(len(b), len(preface))])):
		if len(b) < len(preface) {
			return Undecided
		}
		return HTTP2
	case bytes.HasPrefix(b, []byte("PRI ")): // reserved: never a method (RFC 9113 11.6)
		return Unknown
	case isTokenByte(b[0]) || b[0] == '\r' || b[0] == '\n': // RFC 9112 2.2 allows an empty line first
		return HTTP1
	}
	return Unknown
}

// sniffTLS checks for the beginning of a handshake record of SSL 3.0 to TLS 1.3 whose first
// message is a ClientHello.
func sniffTLS(b []byte) Protocol {
	switch {
	case len(b) > 1 && b[1] != 3,
		len(b) > 2 && b[2] > 4,
		len(b) > recordHead && b[recordHead] != clientHello:
		return Unknown
	case len(b) <= recordHead:
		return Undecided
	}
	return TLS
}

// preamble is the header of the PROXY protocol, which a load balancer may send before a
// connection's own bytes (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt). If
// the app expects it, its load balancer also sends it to the page. It is skipped, and its
// addresses are not trusted.
type preamble struct {
	size int  // bytes to skip; 0 if there is none
	more bool // it has not arrived completely
}

const (
	proxyV1     = "PROXY "
	proxyV1Max  = 107 // bytes, with its CRLF
	proxyV2     = "\r\n\r\n\x00\r\nQUIT\n"
	proxyV2Head = 16      // bytes, of which the last two are the length of the rest
	proxyV2Max  = 4 << 10 // bytes that are accepted
)

func proxyPreamble(b []byte) preamble {
	switch {
	case startsLike(b, proxyV1):
		line, _, whole := strings.Cut(string(b[:min(len(b), proxyV1Max)]), "\r\n")
		family, _, _ := strings.Cut(strings.TrimPrefix(line, proxyV1), " ")
		switch {
		case !whole:
			return preamble{more: len(b) < proxyV1Max}
		case family == "TCP4", family == "TCP6", family == "UNKNOWN":
			return preamble{size: len(line) + len("\r\n")}
		}
	case startsLike(b, proxyV2):
		if len(b) < proxyV2Head {
			return preamble{more: true}
		}
		size := proxyV2Head + int(binary.BigEndian.Uint16(b[proxyV2Head-2:]))
		switch {
		case len(b) < size && size <= proxyV2Max:
			return preamble{more: true}
		case size <= proxyV2Max:
			return preamble{size: size}
		}
	}
	return preamble{}
}

// startsLike says whether b begins with prefix, or is the beginning of it.
func startsLike(b []byte, prefix string) bool {
	return len(b) > 0 && strings.HasPrefix(prefix, string(b[:min(len(b), len(prefix))]))
}

// protocol of the bytes after the preamble.
func (p preamble) protocol(b []byte) Protocol {
	if p.more {
		return Undecided
	}
	return Sniff(b[p.size:])
}

func isTokenByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
