package httpserve

import (
	"bytes"
	"strings"
)

// Protocol is what a connection speaks, told by its first bytes.
type Protocol uint8

// Undecided needs more bytes; Unknown is nothing that is served here.
const (
	Undecided Protocol = iota
	HTTP1
	HTTP2 // cleartext, with prior knowledge (RFC 9113 3.3)
	TLS
	Unknown
	protocols
)

func (p Protocol) String() string {
	return [...]string{"undecided", "http1", "h2c", "tls", "unknown"}[p]
}

const (
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" // RFC 9113 3.4

	recordHandshake = 0x16 // RFC 8446 5.1
	clientHello     = 0x01 // RFC 8446 4
	recordHead      = 5    // bytes before the handshake message
)

// Sniff tells the protocol from the first bytes of a connection. Once it says
// anything but Undecided, more bytes do not change the answer.
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

// sniffTLS checks that a handshake record of SSL 3.0 to TLS 1.3 begins, whose
// first message is a ClientHello.
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

func isTokenByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
