package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"regexp"
	"strings"
)

// Bounds of a Secret's tokens. 16 random bytes are 32 hex digits, or 22 characters of
// base64.
const (
	maxTokens   = 256
	maxToken    = 512 // characters
	MaxSecret   = 256 << 10
	minToken    = 22
	minHexToken = 32
	minDistinct = 8 // characters of a token, which random bytes do not miss
)

var (
	tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	tokenText = regexp.MustCompile(`^[A-Za-z0-9._~+/=-]+$`)
	hexText   = regexp.MustCompile(`^[0-9A-Fa-f]+$`)
)

// IsTokenName says whether a token can have this name.
func IsTokenName(name string) bool { return tokenName.MatchString(name) }

// Token lets its holder in. It knows a digest of what its holder shows, and what
// cookies are made with.
type Token struct {
	Name string
	// Digest tells tokens apart; it gives nothing away of the token.
	Digest [sha256.Size]byte
	key    [sha256.Size]byte
}

// Tokens are those of one Secret.
type Tokens struct {
	secret string
	all    []Token
}

// ParseTokens reads the lines "name token" of the Secret. Empty lines and those that
// begin with # are comments. A line that cannot be used lets nobody in, and is named
// by its number: what it says may be a token.
func ParseTokens(secret, text string) (Tokens, []string) {
	t := Tokens{secret: secret}
	var problems []string
	if len(text) > MaxSecret {
		return t, []string{fmt.Sprintf("key %s has more than %d bytes", SecretKey, MaxSecret)}
	}
	number, names := 0, map[string]bool{}
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(strings.TrimPrefix(line, "\uFEFF"))
		if line == "" || line[0] == '#' {
			continue
		}
		name, token, problem := parseToken(line)
		switch {
		case problem != "":
		case names[name]:
			problem = "its name has been used before"
		case len(t.all) == maxTokens:
			problem = fmt.Sprintf("there are more than %d tokens", maxTokens)
		}
		if problem != "" {
			problems = append(problems, fmt.Sprintf("line %d of key %s: %s", number, SecretKey, problem))
			continue
		}
		names[name] = true
		t.all = append(t.all, newToken(name, token))
	}
	return t, problems[:min(len(problems), maxProblems)]
}

const maxProblems = 10

func parseToken(line string) (name, token, problem string) {
	fields := strings.Fields(line)
	if len(fields) != 2 {
		return "", "", "give a name and a token with a space between them"
	}
	name, token = fields[0], fields[1]
	switch {
	case !tokenName.MatchString(name):
		problem = "give a name of letters, digits, dots, dashes and underscores, of 63 characters at most"
	case len(token) > maxToken || !tokenText.MatchString(token):
		problem = fmt.Sprintf("give a token in hex or base64, of %d characters at most", maxToken)
	case len(token) < minToken || len(token) < minHexToken && hexText.MatchString(token) || distinct(token) < minDistinct:
		problem = "give a token of at least 16 random bytes, in hex or base64, as of: openssl rand -hex 16"
	}
	return name, token, problem
}

func distinct(s string) int {
	seen := map[rune]bool{}
	for _, r := range s {
		seen[r] = true
	}
	return len(seen)
}

func newToken(name, token string) Token {
	t := Token{Name: name, Digest: sha256.Sum256([]byte(token))}
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte("maintenance-controller.io bypass cookie 1"))
	copy(t.key[:], mac.Sum(nil))
	return t
}

// All lists the tokens in the order of the Secret.
func (t Tokens) All() []Token { return t.all }

// Find gives the token that somebody shows. It takes as long for a wrong one as for
// any, whatever both begin with.
func (t Tokens) Find(shown string) (Token, bool) {
	digest := sha256.Sum256([]byte(shown))
	found := -1
	for i := range t.all {
		same := subtle.ConstantTimeCompare(digest[:], t.all[i].Digest[:])
		found = subtle.ConstantTimeSelect(same, i, found)
	}
	if found < 0 {
		return Token{}, false
	}
	return t.all[found], true
}

func (t Tokens) named(name string) (Token, bool) {
	for _, token := range t.all {
		if token.Name == name {
			return token, true
		}
	}
	return Token{}, false
}
