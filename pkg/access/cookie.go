package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// Names of our cookies begin with cookiePrefix, and with hostPrefix before it if the
// cookie is sent over TLS only. No app gets to see them.
const (
	cookiePrefix = "maintenance-bypass-"
	// hostPrefix makes browsers refuse the cookie if another host sets it, a subdomain
	// included, or if it is set without TLS (RFC 6265bis 4.1.3.2).
	hostPrefix = "__Host-"
)

// CookieName is the name of the cookie for a Secret's tokens. It differs for each Secret,
// because several targets may share a host.
func CookieName(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return cookiePrefix + hex.EncodeToString(sum[:8])
}

// SecureCookieName is the name of the same cookie if it is set over TLS.
func SecureCookieName(secret string) string { return hostPrefix + CookieName(secret) }

// IsSecureCookie says whether browsers send a cookie of this name over TLS only.
func IsSecureCookie(name string) bool { return strings.HasPrefix(name, hostPrefix) }

// Seal returns the value of the token holder's cookie for a host: when it expires in Unix
// seconds, the token's name, and an HMAC over both, the host and the Secret's name.
func (t Tokens) Seal(token Token, host string, until time.Time) string {
	seconds := until.Unix()
	return strconv.FormatInt(seconds, 10) + ":" + token.Name + ":" + base64.RawURLEncoding.EncodeToString(t.code(token, host, seconds))
}

func (t Tokens) code(token Token, host string, until int64) []byte {
	mac := hmac.New(sha256.New, token.key[:])
	var n [8]byte
	for _, part := range []string{t.secret, Hostname(host), token.Name} {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		mac.Write(n[:])
		mac.Write([]byte(part))
	}
	binary.BigEndian.PutUint64(n[:], uint64(until))
	mac.Write(n[:])
	return mac.Sum(nil)
}

// open returns the token that a cookie was made from.
func (t Tokens) open(value, host string, now time.Time) (Token, Why) {
	text, rest, _ := strings.Cut(value, ":")
	name, code, _ := strings.Cut(rest, ":")
	until, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strconv.FormatInt(until, 10) != text {
		return Token{}, WrongCookie
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(code)
	if err != nil {
		return Token{}, WrongCookie
	}
	token, found := t.named(name)
	switch {
	case !found || !hmac.Equal(raw, t.code(token, host, until)):
		return Token{}, WrongCookie
	case now.Unix() >= until:
		return Token{}, EndedCookie
	}
	return token, ""
}

// Hostname is a host in the form in which browsers file cookies: lower case, without
// port and without a trailing dot.
func Hostname(host string) string {
	host = strings.ToLower(host)
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.Contains(host[i:], "]") {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}

// maxCookies is how many cookies of one name are tried. There can be several: a subdomain
// may set some to lock their owner out.
const maxCookies = 8

// eachCookie calls f with name and value of each cookie in the lines of a header.
func eachCookie(lines []string, f func(name, value string)) {
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(pair, "=")
			f(strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
}

func isOurs(name string) bool {
	return strings.HasPrefix(strings.TrimPrefix(name, hostPrefix), cookiePrefix)
}

// WithoutCookies removes our cookies, those for other Secrets included, from the lines of
// a Cookie header. It leaves the other cookies unchanged to the byte.
func WithoutCookies(lines []string) []string {
	found := false
	eachCookie(lines, func(name, _ string) { found = found || isOurs(name) })
	if !found {
		return lines
	}
	var out []string
	for _, line := range lines {
		var kept []string
		for pair := range strings.SplitSeq(line, ";") {
			if name, _, _ := strings.Cut(pair, "="); !isOurs(strings.TrimSpace(name)) {
				kept = append(kept, pair)
			}
		}
		if rest := strings.TrimLeft(strings.Join(kept, ";"), " \t"); rest != "" {
			out = append(out, rest)
		}
	}
	return out
}
