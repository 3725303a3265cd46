package pageserver

import "strings"

// canonical makes tags comparable: it replaces underscores ("de_DE") by hyphens, uses one
// name for each language ("cmn" is "zh"), and adds the script if the language has several,
// by CLDR's likely subtags: "zh-TW" is "zh-Hant-TW", "zh" is "zh-Hans". This is a small part
// of golang.org/x/text/language, which would be a tenth of the program; a test compares the
// two.
func canonical(tag string) string {
	tag, _, _ = strings.Cut(tag, ".") // de_DE.UTF-8
	if strings.IndexByte(tag, '_') >= 0 {
		tag = strings.ReplaceAll(tag, "_", "-")
	}
	language, rest, _ := strings.Cut(tag, "-")
	if name := currentName(strings.ToLower(language)); name != "" {
		return canonical(strings.TrimSuffix(name+"-"+rest, "-"))
	}
	next, _, _ := strings.Cut(rest, "-")
	if len(next) == len("Hant") { // a script
		return tag
	}
	script := likelyScript(strings.ToLower(language), strings.ToUpper(next))
	switch {
	case script == "":
		return tag
	case rest == "":
		return language + "-" + script
	}
	return language + "-" + script + "-" + rest
}

// currentName is the current name of a language for names that clients still send: withdrawn
// ones, and the main member of a macrolanguage. It is empty for all others.
func currentName(language string) string {
	switch language {
	case "cmn":
		return "zh"
	case "iw":
		return "he"
	case "in":
		return "id"
	case "ji":
		return "yi"
	case "tl":
		return "fil"
	case "arb":
		return "ar"
	case "swh":
		return "sw"
	case "zsm":
		return "ms"
	case "ekk":
		return "et"
	case "lvs":
		return "lv"
	}
	return ""
}

// likelyScript is the script of a language in a region, or in general, for languages whose
// script depends on the region. It is empty for all others.
func likelyScript(language, region string) string {
	switch language {
	case "az":
		return scriptIn(region, "Latn", "Arab IQ IR", "Cyrl RU")
	case "ha":
		return scriptIn(region, "Latn", "Arab CM SD")
	case "kk":
		return scriptIn(region, "Cyrl", "Arab AF CN IR MN")
	case "ku":
		return scriptIn(region, "Latn", "Arab LB")
	case "ky":
		return scriptIn(region, "Cyrl", "Arab CN", "Latn TR")
	case "mn":
		return scriptIn(region, "Cyrl", "Mong CN")
	case "ms":
		return scriptIn(region, "Latn", "Arab CC ID")
	case "pa":
		return scriptIn(region, "Guru", "Arab PK")
	case "sr":
		return scriptIn(region, "Cyrl", "Latn ME RO RU TR")
	case "tg":
		return scriptIn(region, "Cyrl", "Arab PK")
	case "ug":
		return scriptIn(region, "Arab", "Cyrl KZ MN")
	case "uz":
		return scriptIn(region, "Latn", "Arab AF", "Cyrl CN")
	case "zh":
		return scriptIn(region, "Hans", "Hant AU BN GB GF HK ID MO MY PA PF PH SR TH TW US VN")
	}
	return ""
}

// scriptIn finds the region in lists that begin with their script.
func scriptIn(region, general string, lists ...string) string {
	const regionLength = len("TW")
	for _, list := range lists {
		if script, regions, _ := strings.Cut(list, " "); len(region) == regionLength && strings.Contains(regions, region) {
			return script
		}
	}
	return general
}
