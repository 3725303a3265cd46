package annotations

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	own := Keys{Enabled: "acme.io/down", EnabledValue: "yes", CustomPage: "acme.io/page"}
	for name, tc := range map[string]struct {
		keys     Keys
		give     map[string]string
		want     Request
		problems []string // the keys at fault
	}{
		"nothing":               {give: nil, want: Request{Page: "default"}},
		"on":                    {give: map[string]string{DefaultEnabled: "true"}, want: Request{Enabled: On, Page: "default"}},
		"on with a page":        {give: map[string]string{DefaultEnabled: "true", DefaultCustomPage: "spring"}, want: Request{Enabled: On, Page: "spring"}},
		"spaces around":         {give: map[string]string{DefaultEnabled: " true\n", DefaultCustomPage: " spring "}, want: Request{Enabled: On, Page: "spring"}},
		"off":                   {give: map[string]string{DefaultEnabled: "false"}, want: Request{Enabled: Off, Page: "default"}},
		"empty is off":          {give: map[string]string{DefaultEnabled: ""}, want: Request{Page: "default"}},
		"a wrong value is off":  {give: map[string]string{DefaultEnabled: "ture"}, want: Request{Enabled: Off, Page: "default"}, problems: []string{DefaultEnabled}},
		"case matters":          {give: map[string]string{DefaultEnabled: "True"}, want: Request{Enabled: Off, Page: "default"}, problems: []string{DefaultEnabled}},
		"a typo in the key":     {give: map[string]string{"maintenance/enable": "true"}, want: Request{Page: "default"}, problems: []string{"maintenance/enable"}},
		"what we wrote is fine": {give: map[string]string{State: Active, Since: "x", PageSet: "y", Original: "{}", Message: "m"}, want: Request{Page: "default"}},
		"keys of one's own":     {keys: own, give: map[string]string{"acme.io/down": "yes", "acme.io/page": "p"}, want: Request{Enabled: On, Page: "p"}},
		"own value, wrong":      {keys: own, give: map[string]string{"acme.io/down": "true"}, want: Request{Enabled: Off, Page: "default"}, problems: []string{"acme.io/down"}},
		"own keys, ours are typos": {keys: own, give: map[string]string{DefaultEnabled: "true"}, want: Request{Page: "default"},
			problems: []string{DefaultEnabled}},
	} {
		t.Run(name, func(t *testing.T) {
			keys := tc.keys
			if keys == (Keys{}) {
				keys = DefaultKeys()
			}
			got, problems := keys.Parse(tc.give)
			assert.Equal(t, tc.want, got)
			var at []string
			for _, p := range problems {
				at = append(at, p.Key)
				assert.Contains(t, p.Message, p.Key, "the message names the annotation")
			}
			assert.Equal(t, tc.problems, at)
		})
	}
}

func TestStatusWriteRoundTrip(t *testing.T) {
	before := map[string]string{DefaultEnabled: "true", "a": "b"}
	s := Status{State: Active, Message: "m", Since: "2026-01-01T00:00:00Z", PageSet: "maintenance-0123456789abcdef", Original: "{}"}
	with := s.Write(before)
	assert.Equal(t, s, StatusOf(with))
	assert.True(t, HasWritten(with))
	assert.Equal(t, before, Status{}.Write(with), "the zero Status takes all of ours away and nothing else")
	assert.Len(t, before, 2, "the caller's map stays as it was")
}

func TestMessagesAreBoundedAndValid(t *testing.T) {
	long := Status{Message: strings.Repeat("ü", MaxMessage)}.Write(nil)[Message]
	require.LessOrEqual(t, len(long), MaxMessage)
	assert.True(t, utf8.ValidString(long))
	assert.True(t, strings.HasSuffix(long, "…"))
}

func FuzzParse(f *testing.F) {
	f.Add("maintenance/enabled", "true")
	f.Fuzz(func(t *testing.T, key, value string) {
		req, _ := DefaultKeys().Parse(map[string]string{key: value})
		if req.Enabled == On && (key != DefaultEnabled || strings.TrimSpace(value) != "true") {
			t.Fatalf("%q=%q switched maintenance on", key, value)
		}
		if req.Page == "" {
			t.Fatal("a request always names a page")
		}
	})
}

func TestLine(t *testing.T) {
	for give, want := range map[string]string{
		"plain, “quoted” and 日本語":     "plain, “quoted” and 日本語",
		"two\nlines\ttab\r":           `two\nlines\ttab\r`,
		"\x1b[31mred\x00\u202e\u2028": `\x1b[31mred\x00\u202e\u2028`,
		strings.Repeat("x", 50):       strings.Repeat("x", 37) + "…",
		strings.Repeat("\n", 50):      strings.Repeat(`\n`, 18) + `\…`,
		"not \xff text":               "not � text",
	} {
		got := Line(give, 40)
		assert.Equal(t, want, got)
		assert.LessOrEqual(t, len(got), 40)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\nb\x1b", 10)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 8 + (limit & 0xff)
		got := Line(s, limit)
		if len(got) > limit || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Fatalf("%q", got)
		}
	})
}
