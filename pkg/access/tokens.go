package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"regexp"
	"strings"
)

// MaxSecret is how large the key with the tokens can be, in bytes.
const MaxSecret = 256 << 10

// Bounds of a Secret's tokens, in characters. 16 random bytes are 32 hex digits, or 22
// characters of base64.
const (
	maxTokens   = 256 // in one Secret
	maxToken    = 512
	minToken    = 22
	minHexToken = 32
	minDistinct = 8 // different characters; random tokens always have more
)

var (
	tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	tokenText = regexp.MustCompile(`^[A-Za-z0-9._~+/=-]+$`)
	hexText   = regexp.MustCompile(`^[0-9A-Fa-f]+$`)
)

// IsTokenName says whether a token can have this name: 1 to 63 letters, digits, dots,
// dashes and underscores, of which the first is a letter or digit.
func IsTokenName(name string) bool { return tokenName.MatchString(name) }

// Token lets its holder through. It has no copy of the token's text.
type Token struct {
	// Name of the holder, as in the Secret.
	Name string
	// Digest is the SHA-256 of the token's text. It tells tokens apart without revealing
	// them.
	Digest [sha256.Size]byte
	key    [sha256.Size]byte // for the HMAC in cookies
}

// Tokens are the tokens of one Secret. The zero value has none.
type Tokens struct {
	secret string
	all    []Token
}

// ParseTokens reads the lines "name token" of the named Secret. Empty lines and lines that
// begin with # are comments. A line that cannot be used lets nobody through. The problems
// name such lines by number and do not quote them, since they may hold a token; there are at
// most ten.
func ParseTokens(secret, text string) (Tokens, []string) {
	t := Tokens{secret: secret}
	var problems []string
	if len(text) > MaxSecret {
		return t, []string{fmt.Sprintf("key %s is larger than %d bytes", SecretKey, MaxSecret)}
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
			problem = "its name is used by an earlier line"
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
		return "", "", "give a name and a token, separated by a space"
	}
	name, token = fields[0], fields[1]
	switch {
	case !tokenName.MatchString(name):
		problem = "give a name of at most 63 letters, digits, dots, dashes and underscores"
	case len(token) > maxToken || !tokenText.MatchString(token):
		problem = fmt.Sprintf("give a token in hex or base64, of at most %d characters", maxToken)
	case len(token) < minToken || len(token) < minHexToken && hexText.MatchString(token) || distinct(token) < minDistinct:
		problem = "give a token of at least 16 random bytes, in hex or base64, for example from: openssl rand -hex 16"
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

// Find returns the token with this text, and false if there is none. It takes the same time
// for every text, so that timing reveals nothing about the tokens.
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
