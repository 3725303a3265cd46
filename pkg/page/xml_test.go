package page

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestCheckXML has the verdicts of a conforming parser: expat, with namespaces.
func TestCheckXML(t *testing.T) {
	good := []string{
		`<a/>`, `<a></a >`, "<a\n b='1'\tc=\"2\" />", `<ü.1-x/>`, `<a b="x > y 'z'"/>`, `<a>]] > ]&gt;</a>`,
		`<?xml version="1.0"?><a/>`, `<?xml version='1.0' encoding='utf-8' standalone='yes' ?>` + "\n<a>ä</a>\n",
		`<?xml version="1.0" encoding="ISO-8859-1"?><a>ASCII</a>`, `<?xml version="1.0" encoding="us-ascii"?><a/>`, `<?xml version="1.0" encoding="windows-1252"?><a/>`,
		`<!-- a - b --><?go on?><a/><!-- end --><?xml-stylesheet href="#x"?>`, `<a><![CDATA[<b> & ]] ]]></a>`, `<a><!----></a>`,
		`<!DOCTYPE a><a/>`, `<!DOCTYPE a SYSTEM "a.dtd" ><a/>`, `<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" 'x'><html xmlns="http://www.w3.org/1999/xhtml"/>`,
		`<a>&lt;&#9;&#x10FFFF;&amp;&#1114111;</a>`, `<a b="&quot;&apos;"/>`,
		`<p:a xmlns:p="u"><p:b p:c="" c=""/></p:a>`, `<a xml:lang="de"/>`, `<a xmlns="u"><b xmlns=""/></a>`,
		`<a xmlns:xml="http://www.w3.org/XML/1998/namespace"/>`, `<a><b xmlns:p="u" p:c=""/><b xmlns:p="v" p:c=""/></a>`,
		`<a xmlns:p="u"><b xmlns:p="v"/><p:c/></a>`, `<a xmlns:p="u" xmlns:q="v" p:x="" q:x=""/>`,
	}
	for _, body := range good {
		if err := checkXML(body); err != nil {
			t.Errorf("%s\n%v", body, err)
		}
	}
	for body, says := range map[string]string{
		``: "no XML element", `<!-- soon -->`: "no XML element", "text": "text outside",
		`<a/><b/>`: "second root", `<a/>text`: "text outside", `text<a/>`: "text outside", `<a/>&#32;`: "text outside", `<![CDATA[x]]><a/>`: "text outside",
		` <?xml version="1.0"?><a/>`: "very start", `<?xml version="1.0"?><?xml version="1.0"?><a/>`: "very start", `<a><?xml version="1.0"?></a>`: "very start",
		`<?xml?><a/>`: "very start", `<?XML version="1.0"?><a/>`: "very start", `<?xml version="1.1"?><a/>`: "version 1.0", `<?xml encoding="utf-8" version="1.0"?><a/>`: "very start",
		`<?xml version="1.0" encoding="utf-8'?><a/>`: "very start", `<?xml version="1.0" standalone="maybe"?><a/>`: "very start",
		`<?xml version="1.0" encoding="UTF-16"?><a/>`: "declares the encoding", `<?xml version="1.0" encoding="ISO-8859-1"?><a>ä</a>`: "declares the encoding",
		`<a b="1" b="2"/>`: `attribute "b" is repeated`, `<a xmlns:p="u" xmlns:q="u" p:x="" q:x=""/>`: "is repeated", `<a xmlns:p="u" xmlns:p="v"/>`: "is repeated", `<a xmlns="u" xmlns="u"/>`: "is repeated",
		`<p:a/>`: `prefix "p"`, `<a p:b=""/>`: `prefix "p"`, `<a><b xmlns:p="u"/><p:c/></a>`: `prefix "p"`, `<xmlns:a/>`: `prefix "xmlns"`,
		`<a xmlns:p=""/>`: "namespace declaration", `<a xmlns:xmlns="u"/>`: "namespace declaration", `<a xmlns:xml="u"/>`: "namespace declaration", `<a xmlns:p="http://www.w3.org/XML/1998/namespace"/>`: "namespace declaration", `<a xmlns="http://www.w3.org/2000/xmlns/"/>`: "namespace declaration",
		`<a:b:c xmlns:a="u"/>`: "begins with", `<:a/>`: "begins with", `<a b="1"c="2"/>`: "begins with", `<a b=1/>`: "begins with", `<a b/>`: "begins with", `<a b="<"/>`: "begins with", `<1/>`: "begins with", `< a/>`: "begins with", `<a`: "begins with",
		`<a></b>`: "does not close", `</a>`: "does not close", "<a>\n<b></a></b>": "line 2: </a> does not close", "<a>\n<b>\n": `line 3: element "b" is not closed`,
		`<a>&nbsp;</a>`: "begins with", `<a>&</a>`: "begins with", `<a>&#0;</a>`: "begins with", `<a>&#xD800;</a>`: "begins with", `<a>&#1114112;</a>`: "begins with", `<a>&#x41</a>`: "begins with", `<a>&#X41;</a>`: "begins with",
		`<a>]]></a>`: `"]]>"`, `<a><!-- a -- b --></a>`: "begins with", `<a><!-- a ---></a>`: "begins with", `<a><![CDATA[x</a>`: "begins with", `<a><?1?></a>`: "begins with", `<a><?b+c?></a>`: "begins with", `<a><?b:c d?></a>`: "begins with", `<a><!FOO></a>`: "begins with",
		`<a/><!DOCTYPE a>`: "document type", `<!DOCTYPE a><!DOCTYPE a><a/>`: "document type", `<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`: "begins with", `<!DOCTYPE a PUBLIC "x"><a/>`: "begins with",
		"<a>\x01</a>": "is not allowed", "<a>\ufffe</a>": "is not allowed", "<!-- \x02 --><a/>": "is not allowed",
	} {
		if err := checkXML(body); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s\n%v, want %q", body, err, says)
		}
	}
}

// TestXMLReferences: the expressions accept exactly the references to XML's characters.
func TestXMLReferences(t *testing.T) {
	ref := regexp.MustCompile(`^` + xmlRef + `$`)
	legal := func(n int) bool {
		return n == 9 || n == 10 || n == 13 || n >= 0x20 && n <= 0xD7FF || n >= 0xE000 && n <= 0xFFFD || n >= 0x10000 && n <= 0x10FFFF
	}
	for n := range 1_200_000 {
		if n > 0x20000 && n < 0x10FF00 && n%97 != 0 {
			continue // a sample is enough here
		}
		for _, text := range []string{fmt.Sprintf("&#%d;", n), fmt.Sprintf("&#x%X;", n), fmt.Sprintf("&#x00%x;", n)} {
			if ref.MatchString(text) != legal(n) {
				t.Fatalf("%s is legal: %t", text, legal(n))
			}
		}
	}
}

// TestCheckXMLTakesLinearTime: a person who may write ConfigMaps must not be able to stall the
// controller. Four times the text takes about four times as long on any machine; quadratic
// time would be sixteen times as long in each try.
func TestCheckXMLTakesLinearTime(t *testing.T) {
	repeated := func(size int, each func(i int) string) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			b.WriteString(each(i))
		}
		return b.String()
	}
	for name, body := range map[string]func(size int) string{
		"deep": func(size int) string { return strings.Repeat("<a>", size/3) },
		"wide": func(size int) string {
			return `<p:a xmlns:p="` + strings.Repeat("u", size/2) + `"` + repeated(size/2, func(i int) string { return fmt.Sprintf(` p:a%d=""`, i) }) + "/>"
		},
		"declaring": func(size int) string {
			return repeated(size, func(i int) string { return fmt.Sprintf(`<a xmlns:p%d="u">`, i) })
		},
		"unclosed": func(size int) string { return "<a " + strings.Repeat(`b="`, size/3) },
		"comment":  func(size int) string { return "<!--" + strings.Repeat("-x", size/2) },
	} {
		t.Run(name, func(t *testing.T) {
			took := func(size int) time.Duration {
				text := body(size)
				begin := time.Now()
				_ = checkXML(text) // only the time matters
				return time.Since(begin)
			}
			const tries, short, long = 8, MaxSize / 32, MaxSize / 8
			var growth []float64
			for range tries {
				a, b := took(short), took(long)
				growth = append(growth, float64(b)/float64(a))
				if b < 8*a {
					return
				}
			}
			t.Errorf("%d bytes took, compared with %d, %.1f times as long", long, short, growth)
		})
	}
}

// TestChartHasTheXMLExpressions: the chart's templates have the expressions of xml.go.
func TestChartHasTheXMLExpressions(t *testing.T) {
	text, err := os.ReadFile("../../deploy/chart/templates/_xml.tpl")
	if err != nil {
		t.Fatal(err)
	}
	for name, expression := range map[string]string{
		"NCName": xmlNCName, "decimal": xmlDec, "hexadecimal": xmlHex, "ASCII": xmlASCII, "illegal": xmlIllegal,
	} {
		if !strings.Contains(string(text), "`"+expression+"`") {
			t.Errorf("the chart's _xml.tpl does not have this expression (%s): %s", name, expression)
		}
	}
}
