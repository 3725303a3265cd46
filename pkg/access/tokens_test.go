package access

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseTokens(t *testing.T) {
	got, problems := ParseTokens("team", "# the team\r\n\r\n anna\t"+anna+" \r\njob "+job)
	assert.Empty(t, problems)
	require.Len(t, got.All(), 2)
	for name, token := range map[string]string{"anna": anna, "job": job} {
		found, ok := got.Find(token)
		assert.True(t, ok)
		assert.Equal(t, name, found.Name)
	}
	for _, shown := range []string{"", "x", anna[1:], anna + "x", strings.ToUpper(anna), "anna", "anna " + anna} {
		_, ok := got.Find(shown)
		assert.False(t, ok, shown)
	}
}

// TestInvalidTokenLines: invalid lines let nobody through. The problems name them by number
// and never quote them, since any word of them may be a token.
func TestInvalidTokenLines(t *testing.T) {
	for _, test := range []struct{ name, line, says string }{
		{"no name", anna, "a name and a token"},
		{"three words", "anna b " + anna, "a name and a token"},
		{"a short token", "bob " + anna[1:], "16 random bytes"},
		{"a short token of hex", "bob " + job[1:], "16 random bytes"},
		{"a token of one repeated letter", "bob " + strings.Repeat("x", 40), "16 random bytes"},
		{"a long token", "bob " + strings.Repeat(anna, 30), "512"},
		{"a token that no header carries", "bob " + anna + "\u00e9", "hex or base64"},
		{"a name that would forge a log", "a\x1b[31mb " + anna, "letters"},
		{"a name for another field", "a:b " + anna, "letters"},
		{"a long name", strings.Repeat("x", 64) + " " + anna, "63"},
		{"a name twice", "anna " + job, "used by an earlier line"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, problems := ParseTokens("team", "anna "+anna+"\n"+test.line)
			assert.Len(t, got.All(), 1)
			require.Len(t, problems, 1)
			assert.Contains(t, problems[0], test.says)
			assert.Contains(t, problems[0], "line 2 ")
			assert.NotContains(t, problems[0], anna[2:10])
			assert.NotContains(t, problems[0], job[2:10])
		})
	}
	var many strings.Builder
	for n := range maxTokens + 50 {
		fmt.Fprintf(&many, "n%d %s%d\n", n, anna, n)
	}
	got, problems := ParseTokens("team", many.String())
	assert.Len(t, got.All(), maxTokens)
	assert.Len(t, problems, maxProblems)
	got, problems = ParseTokens("team", strings.Repeat("#\n", MaxSecret))
	assert.Empty(t, got.All())
	assert.Len(t, problems, 1)
}

func TestOpenRejectsForeignCookies(t *testing.T) {
	r := rules(t)
	later := now.Add(time.Hour)
	token, _ := r.Tokens.named("anna")
	value := r.Tokens.Seal(token, "shop.example", later)
	_, why := r.Tokens.open(value, "SHOP.example:443", now)
	require.Empty(t, why)
	assert.NotContains(t, value, anna)

	other, _ := ParseTokens("others", "anna "+anna)
	_, why = other.open(value, "shop.example", now)
	assert.Equal(t, WrongCookie, why, "the same token in another Secret")
	renewed, _ := ParseTokens("team", "anna "+job)
	_, why = renewed.open(value, "shop.example", now)
	assert.Equal(t, WrongCookie, why, "another token of the same name")
	revoked, _ := ParseTokens("team", "job "+job)
	_, why = revoked.open(value, "shop.example", now)
	assert.Equal(t, WrongCookie, why, "a revoked token")

	seconds, rest, _ := strings.Cut(value, ":")
	name, code, _ := strings.Cut(rest, ":")
	for title, forged := range map[string]string{
		"later":           "1900000000:" + rest,
		"never":           "9223372036854775807:" + rest,
		"another name":    seconds + ":job:" + code,
		"no code":         seconds + ":" + name + ":",
		"half a code":     seconds + ":" + name + ":" + code[:20],
		"another sign":    "+" + value,
		"no time":         "x:" + rest,
		"nothing":         "",
		"a name too many": seconds + ":" + name + ":" + name + ":" + code,
	} {
		_, why := r.Tokens.open(forged, "shop.example", now)
		assert.Equal(t, WrongCookie, why, title)
	}
	_, why = r.Tokens.open(value, "shop.example", later)
	assert.Equal(t, EndedCookie, why)
}

// TestCookieAmongPlantedOnes: cookies set from a subdomain lock nobody out.
func TestCookieAmongPlantedOnes(t *testing.T) {
	r := rules(t)
	h := withCookie(t, r, "anna", "shop.example", now.Add(time.Hour))
	h["Cookie"] = append([]string{CookieName("team") + "=planted; " + SecureCookieName("team") + "=1:anna:x"}, h["Cookie"]...)
	assert.Equal(t, ByCookie, r.Decide(Request{Method: "POST", Path: "/", Host: "shop.example", Header: h}, now).By)
	planted := strings.Repeat(SecureCookieName("team")+"=x;", maxCookies)
	h["Cookie"][0] = planted
	assert.Empty(t, r.Decide(Request{Method: "POST", Path: "/", Host: "shop.example", Header: h}, now).By, "only so many are tried")
}

func TestWithoutCookies(t *testing.T) {
	ours, secure := CookieName("team")+"=1:a:b", SecureCookieName("other")+"=x"
	for _, test := range []struct{ give, want []string }{
		{nil, nil},
		{[]string{"a=b;c; d=\"e;f\""}, []string{"a=b;c; d=\"e;f\""}},
		{[]string{"a=b; " + ours + "; c=d"}, []string{"a=b; c=d"}},
		{[]string{ours + "; a=b;  c=d"}, []string{"a=b;  c=d"}},
		{[]string{"a=b; " + secure}, []string{"a=b"}},
		{[]string{ours}, nil},
		{[]string{ours + ";" + secure, "x=y"}, []string{"x=y"}},
		{[]string{"x=" + ours}, []string{"x=" + ours}},
	} {
		assert.Equal(t, test.want, WithoutCookies(test.give), "%q", test.give)
	}
}

func TestHostname(t *testing.T) {
	for give, want := range map[string]string{"Shop.Example": "shop.example", "a.b:80": "a.b", "a.b.": "a.b", "[::1]:80": "[::1]", "[::1]": "[::1]", "": "", "a.:1": "a"} {
		assert.Equal(t, want, Hostname(give), give)
	}
}
