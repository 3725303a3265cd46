package pageserver

import (
	"strings"
	"testing"

	"golang.org/x/text/language"
)

// TestLikelyScriptMatchesCLDR compares all languages of two letters in all regions.
func TestLikelyScriptMatchesCLDR(t *testing.T) {
	pairs := 0
	for _, name := range twoLetters() {
		base, err := language.ParseBase(name)
		if err != nil || base.String() != name {
			continue
		}
		general, _ := language.Make(name).Script()
		for _, code := range twoLetters() {
			region, err := language.ParseRegion(strings.ToUpper(code))
			if err != nil || !region.IsCountry() || region.Canonicalize() != region {
				continue
			}
			want, confidence := language.Make(name + "-" + region.String()).Script()
			if confidence == language.No {
				continue
			}
			pairs++
			got := likelyScript(name, region.String())
			if got == "" {
				got = general.String()
			}
			if got != want.String() {
				t.Errorf("%s in %s is written in %s, want %s", name, region, got, want)
			}
		}
	}
	if pairs < 10000 {
		t.Errorf("only %d pairs were compared", pairs)
	}
}

func twoLetters() []string {
	var all []string
	for a := 'a'; a <= 'z'; a++ {
		for b := 'a'; b <= 'z'; b++ {
			all = append(all, string(a)+string(b))
		}
	}
	return all
}

func TestCurrentNameMatchesCLDR(t *testing.T) {
	for _, old := range []string{"cmn", "iw", "in", "ji", "tl", "arb", "swh", "zsm", "ekk", "lvs"} {
		want, err := language.All.Parse(old)
		if base, _ := want.Base(); err != nil || currentName(old) != base.String() {
			t.Errorf("%s is now %q, want %s: %v", old, currentName(old), want, err)
		}
	}
}

func TestCanonical(t *testing.T) {
	for tag, want := range map[string]string{
		"": "", "de": "de", "de_DE": "de-DE", "de_DE.UTF-8": "de-DE", "pt-BR": "pt-BR", "*": "*", "-": "-",
		"zh": "zh-Hans", "zh-CN": "zh-Hans-CN", "zh-TW": "zh-Hant-TW", "zh-hk": "zh-Hant-hk", "zh_MO": "zh-Hant-MO",
		"zh-Hant": "zh-Hant", "zh-hans-TW": "zh-hans-TW", "cmn": "zh-Hans", "cmn-Hant-HK": "zh-Hant-HK", "cmn-TW": "zh-Hant-TW",
		"sr-ME": "sr-Latn-ME", "sr": "sr-Cyrl", "iw-IL": "he-IL", "zh-x-private": "zh-Hans-x-private",
	} {
		if got := canonical(tag); got != want {
			t.Errorf("%q becomes %q, want %q", tag, got, want)
		}
	}
}
