package pageserver

import (
	"slices"
	"strings"
	"testing"
)

func TestPickLanguage(t *testing.T) {
	builtIn := []string{"ar", "de", "en", "fr", "pt-BR", "pt", "zh-Hant", "zh"}
	for _, test := range []struct {
		name, header string
		tags         []string // builtIn if nil; the fallback is "en"
		want         string
	}{
		{name: "no header", header: "", want: "en"},
		{name: "exact", header: "de", want: "de"},
		{name: "case", header: "DE", want: "de"},
		{name: "region is dropped", header: "de-AT", want: "de"},
		{name: "two subtags are dropped", header: "zh-Hans-CN", want: "zh"},
		{name: "script is kept", header: "zh-Hant-TW", want: "zh-Hant"},
		{name: "Taiwan", header: "zh-TW,zh;q=0.9,en-US;q=0.8", want: "zh-Hant"},
		{name: "Hong Kong", header: "zh-HK", want: "zh-Hant"},
		{name: "Macao", header: "zh-MO", want: "zh-Hant"},
		{name: "Singapore", header: "zh-SG", want: "zh"},
		{name: "Mandarin by its own name", header: "cmn-Hans-CN", want: "zh"},
		{name: "Mandarin in Taiwan", header: "cmn-TW", want: "zh-Hant"},
		{name: "underscore", header: "de_DE", want: "de"},
		{name: "underscore and region", header: "pt_BR", want: "pt-BR"},
		{name: "the script decides, not the order of tags", header: "zh-CN", tags: []string{"en", "zh-Hant", "zh-Hans"}, want: "zh-Hans"},
		{name: "a region's tag has its script", header: "zh-HK", tags: []string{"en", "zh", "zh-TW"}, want: "zh-TW"},
		{name: "another script beats English", header: "zh-TW", tags: []string{"en", "zh"}, want: "zh"},
		{name: "Serbian in Montenegro", header: "sr-ME", tags: []string{"en", "sr", "sr-Latn"}, want: "sr-Latn"},
		{name: "refused by another name", header: "zh-TW;q=0, zh-Hant;q=0, cmn-Hant, de;q=0.1", want: "de"},
		{name: "region fits", header: "pt-br", want: "pt-BR"},
		{name: "plain beats region", header: "pt", want: "pt"},
		{name: "other region", header: "pt-AO", want: "pt"},
		{name: "Chrome", header: "fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", want: "fr"},
		{name: "first missing", header: "eo, de;q=0.5", want: "de"},
		{name: "q decides", header: "de;q=0.5, fr;q=0.8", want: "fr"},
		{name: "order decides", header: "de, fr", want: "de"},
		{name: "none has it", header: "eo, tlh", want: "en"},
		{name: "any", header: "*", want: "en"},
		{name: "any after a missing one", header: "eo, *;q=0.1", want: "en"},
		{name: "refused", header: "de;q=0, de-AT, fr;q=0.1", want: "fr"},
		{name: "all refused", header: "*;q=0", want: "en"},
		{name: "singleton goes with what follows it", header: "de-x-private", want: "de"},
		{name: "garbage", header: ";;;,\x00,-,--de,q=1", want: "en"},
		{name: "prefix of a word is no match", header: "d", want: "en"},
		{name: "longer tag is found", header: "pt", tags: []string{"en", "pt-BR"}, want: "pt-BR"},
		{name: "longer tag of a region", header: "zh-TW", tags: []string{"en", "zh-Hant"}, want: "zh-Hant"},
		{name: "one language only", header: "de", tags: []string{"en"}, want: "en"},
		{name: "unknown language", header: "de", tags: []string{"en", ""}, want: "en"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tags := test.tags
			if tags == nil {
				tags = builtIn
			}
			var canonicals []string
			for _, tag := range tags {
				canonicals = append(canonicals, canonical(tag))
			}
			if got := tags[pickLanguage(test.header, canonicals, slices.Index(tags, "en"))]; got != test.want {
				t.Errorf("%q gets %q, want %q", test.header, got, test.want)
			}
		})
	}
}

func FuzzPickLanguage(f *testing.F) {
	for _, seed := range []string{"", "*", "de-AT,de;q=0.9,en;q=0.8", "zh-Hant-TW", "-", "a-b-c-d-e", "de;q=0"} {
		f.Add(seed)
	}
	tags := []string{"", "de", "en", "pt-BR", "zh-Hant"}
	f.Fuzz(func(t *testing.T, header string) {
		got := pickLanguage(header, tags, 2)
		if got < 0 || got >= len(tags) {
			t.Fatalf("index %d is outside", got)
		}
		if tag := tags[got]; got != 2 && !strings.Contains(strings.ToLower(header), strings.ToLower(tag[:min(2, len(tag))])) && !strings.Contains(strings.ToLower(header), "cmn") {
			t.Errorf("%q gets %q, which it does not name", header, tag)
		}
	})
}

func TestPickEncoding(t *testing.T) {
	for _, test := range []struct {
		header string
		want   Encoding
	}{
		{"", Identity},
		{"gzip", Gzip},
		{"x-gzip", Gzip},
		{"GZIP", Gzip},
		{"br", Brotli},
		{"gzip, deflate, br, zstd", Brotli},
		{"gzip, deflate", Gzip},
		{"deflate, zstd", Identity},
		{"identity", Identity},
		{"gzip;q=1.0, identity; q=0.5, *;q=0", Gzip},
		{"gzip;q=0", Identity},
		{"br;q=0, gzip", Gzip},
		{"br;q=0.5, gzip;q=0.8", Gzip},
		{"identity, gzip;q=0.5", Identity},
		{"*", Brotli},
		{"*;q=0.1, br;q=0", Gzip},
		{"*;q=0", Identity},
		{"identity;q=0", Identity},
		{"identity;q=0, gzip;q=0.1", Gzip},
		{"gzip;q=nonsense", Identity},
		{",,;;,gzip", Gzip},
	} {
		if got := pickEncoding(test.header); got != test.want {
			t.Errorf("%q gets %s, want %s", test.header, got, test.want)
		}
	}
}

func FuzzPickEncoding(f *testing.F) {
	f.Add("gzip, deflate, br;q=0.5")
	f.Fuzz(func(t *testing.T, header string) {
		got := pickEncoding(header)
		if got != Identity && !strings.Contains(header, "*") && !strings.Contains(strings.ToLower(header), got.String()) {
			t.Errorf("%q gets %s, which it does not name", header, got)
		}
	})
}
