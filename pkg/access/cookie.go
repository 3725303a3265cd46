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

// Cookies of ours begin so, those that only TLS carries with hostPrefix before it.
// None of them is for an app.
const (
	cookiePrefix = "maintenance-bypass-"
	// hostPrefix makes browsers refuse the cookie from another host, a subdomain's
	// or one without TLS (RFC 6265bis 4.1.3.2).
	hostPrefix = "__Host-"
)

// CookieName is the cookie of a Secret's tokens: several targets may share a host.
func CookieName(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return cookiePrefix + hex.EncodeToString(sum[:8])
}

// SecureCookieName is the name of the same cookie where it is set over TLS.
func SecureCookieName(secret string) string { return hostPrefix + CookieName(secret) }

// IsSecureCookie says whether a cookie of this name is kept over TLS only.
func IsSecureCookie(name string) bool { return strings.HasPrefix(name, hostPrefix) }

// Seal gives the value of a cookie for the token's holder at a host: when it ends, the
// token's name, and a code over both and the host.
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

// open gives the token whose holder has this cookie.
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

// Hostname is a host as browsers keep cookies by: in lower case, without port and
// without the root's dot.
func Hostname(host string) string {
	host = strings.ToLower(host)
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.Contains(host[i:], "]") {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}

// maxCookies bounds how many cookies of one name are tried: somebody may have set
// others from a subdomain, to lock their owner out.
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

// WithoutCookies takes our cookies off the lines of a Cookie header, those for other
// Secrets as well, and leaves the others as they are, to the byte.
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
