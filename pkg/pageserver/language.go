package pageserver

import "strings"

// pickLanguage chooses one of the tags of a format by Accept-Language, with the lookup of
// RFC 4647 3.4: it tries the client's ranges by descending q, and shortens each from the
// right until a tag matches ("de-AT" finds "de"). Before it is shortened, a range also finds
// a longer tag ("pt" finds "pt-BR"). "*", or no match, gives fallback, an index into tags.
// Tags are in canonical form, and "" if the language is unknown.
func pickLanguage(header string, tags []string, fallback int) int {
	if len(tags) < 2 || header == "" {
		return fallback
	}
	best, bestQ := -1, 0
	for rest := header; rest != ""; {
		var element string
		element, rest = nextElement(rest)
		tag, params := cutUnquoted(element, ';')
		q, _, ok := weight(params)
		if !ok || q <= bestQ {
			continue
		}
		if i := lookup(canonical(tag), tags, fallback); i >= 0 && !refused(header, tags[i]) {
			best, bestQ = i, q
		}
	}
	if best < 0 {
		return fallback
	}
	return best
}

// Languages chooses a language for a visitor as the page does.
type Languages struct{ tags []string }

// NewLanguages takes the available languages as tags of BCP 47. The first is for visitors
// whom none suits.
func NewLanguages(tags []string) Languages {
	l := Languages{tags: make([]string, 0, len(tags))}
	for _, tag := range tags {
		l.tags = append(l.tags, canonical(tag))
	}
	return l
}

// Pick returns the index of the tag that fits the lines of Accept-Language best.
func (l Languages) Pick(accept []string) int {
	return pickLanguage(strings.Join(accept, ", "), l.tags, 0)
}

func lookup(tag string, tags []string, fallback int) int {
	if tag == "*" {
		return fallback
	}
	longer := -1
	for tag != "" {
		for i, have := range tags {
			if !hasPrefixFold(have, tag) {
				continue
			}
			if len(have) == len(tag) {
				return i
			}
			if longer < 0 && have[len(tag)] == '-' {
				longer = i
			}
		}
		if longer >= 0 {
			return longer
		}
		tag = shorten(tag)
	}
	return -1
}

// shorten removes the last subtag, and then a single-character subtag at the end (RFC 4647
// 3.4: "zh-Hant-CN-x-a" becomes "zh-Hant-CN").
func shorten(tag string) string {
	i := strings.LastIndexByte(tag, '-')
	if i < 0 {
		return ""
	}
	tag = tag[:i]
	if i >= 2 && tag[i-2] == '-' {
		tag = tag[:i-2]
	}
	return tag
}

// refused says whether the header gives exactly this tag a q of 0.
func refused(header, tag string) bool {
	if !strings.Contains(header, "0") {
		return false
	}
	for header != "" {
		var element string
		element, header = nextElement(header)
		name, params := cutUnquoted(element, ';')
		if q, _, ok := weight(params); ok && q == 0 && strings.EqualFold(canonical(name), tag) {
			return true
		}
	}
	return false
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
