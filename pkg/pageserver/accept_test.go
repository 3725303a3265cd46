package pageserver

import (
	"strings"
	"testing"
)

var all = [formats]bool{HTML: true, JSON: true, XML: true, Text: true, Problem: true}

func TestNegotiate(t *testing.T) {
	const (
		chrome    = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
		oldWebKit = "application/xml,application/xhtml+xml,text/html;q=0.9,text/plain;q=0.8,image/png,*/*;q=0.5"
	)
	for _, test := range []struct {
		name, accept string
		want         Format
	}{
		{"no header", "", HTML},
		{"anything", "*/*", HTML},
		{"Chrome navigates", chrome, HTML},
		{"old WebKit, which put XML first", oldWebKit, HTML},
		{"Chrome's image", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", Text},
		{"Firefox's image", "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5", Text},
		{"Safari's video", "video/*;q=0.8,image/png,*/*;q=0.5", Text},
		{"a stylesheet", "text/css,*/*;q=0.1", Text},
		{"a font", "application/font-woff2;q=1.0,application/font-woff;q=0.9,*/*;q=0.8", Text},
		{"an image, nothing else accepted", "image/webp", Text},
		{"a stylesheet, nothing else accepted", "text/css", Text},
		{"an EventSource", "text/event-stream", Text},
		{"protobuf", "application/x-protobuf, application/vnd.google.protobuf;q=0.9", Text},
		{"CSV", "text/csv", Text},
		{"an image, text refused", "image/png, text/plain;q=0", HTML},
		{"SVG is no XML document", "image/svg+xml, text/plain;q=0.1", Text},

		{"html", "text/html", HTML},
		{"xhtml", "application/xhtml+xml", HTML},
		{"json", "application/json", JSON},
		{"text/json", "text/json", JSON},
		{"vendor json", "application/vnd.api+json", JSON},
		{"ld+json with a profile", `application/ld+json;profile="http://a/b, c;q=0"`, JSON},
		{"problem", "application/problem+json", Problem},
		{"problem before json", "application/json, application/problem+json", Problem},
		{"json preferred to problem", "application/json, application/problem+json;q=0.9", JSON},
		{"problem refused", "application/problem+json;q=0, application/json", JSON},
		{"xml", "application/xml", XML},
		{"text/xml", "text/xml", XML},
		{"feed", "application/atom+xml, application/rss+xml", XML},
		{"problem+xml", "application/problem+xml", XML},
		{"soap", "application/soap+xml, application/dime, multipart/related, text/*", XML},
		{"plain", "text/plain", Text},
		{"openmetrics scraper", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Text},

		{"upper case", "APPLICATION/JSON", JSON},
		{"charset is ours", "application/json;charset=UTF-8", JSON},
		{"unknown parameter", "application/json;version=2", JSON},
		{"unknown parameter against the plain type", "text/html;level=1, application/json;q=0.9", HTML},
		{"axios", "application/json, text/plain, */*", JSON},
		{"jQuery", "application/json, text/javascript, */*; q=0.01", JSON},
		{"Java's URLConnection", "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", HTML},
		{"Java's, wildcards only", "*; q=.2, */*; q=.2", HTML},
		{"order decides between equals", "application/xml, application/json", XML},
		{"order decides between equals, turned", "application/json, text/html", JSON},
		{"q decides", "text/html;q=0.5, application/json;q=0.9, text/plain;q=0.1", JSON},
		{"q with three digits", "text/html;q=0.998, application/json;q=0.999", JSON},
		{"q before other parameters", "text/html;q=0.5;level=1, text/plain;q=0.6", Text},
		{"spaces and tabs", " text/html ; q = 0.1 ,\tapplication/json\t; q=0.2", JSON},
		{"empty elements", ",,application/json,,", JSON},

		{"text/*", "text/*", HTML},
		{"application/*", "application/*", JSON},
		{"application/* with html refused", "text/html;q=0, application/*", JSON},
		{"specific before wildcard", "text/*;q=0.9, text/html;q=0.1", Text},
		{"q=0 refuses", "text/html;q=0, */*", JSON},
		{"q=0.000 refuses", "text/html;q=0.000, text/plain;q=0.001", Text},
		{"q=0 on a subtree", "text/*;q=0, */*;q=0.5", JSON},
		{"everything refused", "*/*;q=0", HTML},
		{"parameter with q=0 says nothing", "application/json;v=2;q=0, application/json;q=0.5, text/plain;q=0.4", JSON},
		{"exact q beats related", "application/json;q=0.2, application/vnd.x+json, text/plain;q=0.5", Text},

		{"garbage", "\x00\xff;;;,,/,*/,/*,text", HTML},
		{"garbage beside sense", "garbage, application/json", JSON},
		{"q is no number", "application/json;q=high, text/plain", Text},
		{"q is over one", "text/html;q=0.9, application/json;q=7", JSON},
		{"q is negative", "application/json;q=-1, text/plain;q=0.1", Text},
		{"open quote", `text/html;a="b, application/json`, HTML},
		{"very long", strings.Repeat("a/b;q=0.1,", 5000) + "application/json", JSON},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := negotiate(test.accept, all); got != test.want {
				t.Errorf("%q gets %s, want %s", test.accept, got, test.want)
			}
		})
	}
}

func TestNegotiateWithFewFormats(t *testing.T) {
	onlyJSON := [formats]bool{JSON: true, Problem: true}
	for accept, want := range map[string]Format{"": JSON, "text/html": JSON, "*/*": JSON, "image/png,*/*": JSON, "application/problem+json": Problem} {
		if got := negotiate(accept, onlyJSON); got != want {
			t.Errorf("%q gets %s, want %s", accept, got, want)
		}
	}
}

func TestParseQ(t *testing.T) {
	for _, test := range []struct {
		s    string
		want int
		ok   bool
	}{
		{"1", 1000, true}, {"0", 0, true}, {"0.5", 500, true}, {"0.123", 123, true}, {"0.1239", 123, true}, {".2", 200, true},
		{"1.", 1000, true}, {"0.", 0, true}, {"1.000", 1000, true}, {"2", 1000, true}, {"10", 1000, true}, {"00.5", 500, true},
		{"", 0, false}, {".", 0, false}, {"-1", 0, false}, {"0,5", 0, false}, {"1e3", 0, false}, {"0.5.5", 0, false}, {"high", 0, false},
	} {
		if got, ok := parseQ(test.s); got != test.want || ok != test.ok {
			t.Errorf("parseQ(%q) = %d, %t; want %d, %t", test.s, got, ok, test.want, test.ok)
		}
	}
}

func FuzzNegotiate(f *testing.F) {
	for _, seed := range []string{"", "*/*", "text/html;q=0.5,application/json", `a/b;c="d\",e";q=.1`, ";;;,,,///", "text/html;q=0, */*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		got := negotiate(accept, all)
		if got >= formats {
			t.Fatalf("format %d does not exist", got)
		}
		if again := negotiate(accept+",", all); again != got && !strings.ContainsAny(accept, `"\\`) {
			t.Errorf("an empty element at the end changes %s to %s", got, again)
		}
		if got == Problem && !strings.Contains(strings.ToLower(accept), "problem+json") {
			t.Errorf("%q got problem+json, which it does not name", accept)
		}
		a := parseAccept(accept)
		for format := range formats {
			if c := a.of[format]; c.q < 0 || c.q > maxQ || c.rank > exactly {
				t.Errorf("%s: impossible choice %+v", format, c)
			}
		}
		if c := a.of[got]; got != HTML && (c.rank == noMatch && (got != Text || !a.foreign) || c.rank != noMatch && c.q == 0) {
			t.Errorf("%q got %s, which it refuses", accept, got)
		}
	})
}

func BenchmarkNegotiate(b *testing.B) {
	const chrome = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
	b.ReportAllocs()
	for b.Loop() {
		negotiate(chrome, all)
	}
}
