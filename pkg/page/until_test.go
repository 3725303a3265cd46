package page

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestUntilIsContent: Until is part of the hash, and Read refuses a page that has it.
func TestUntilIsContent(t *testing.T) {
	open := Page{Status: 503, RetryAfter: time.Minute, Bodies: map[string]string{"page.html": "<p>hi"}}
	ends := open
	ends.Until = time.Date(2026, 1, 31, 17, 5, 0, 0, time.UTC)
	if open.Hash() == ends.Hash() {
		t.Error("when it ends is not part of the hash")
	}
	got, err := Parse(ends.Data())
	if diff := cmp.Diff(ends, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, _, err := Read(ends.Data()); err == nil || !strings.Contains(err.Error(), UntilKey) {
		t.Errorf("a person's page has an end: %v", err)
	}
	if _, err := Parse(map[string]string{"page.html": "x", UntilKey: "soon"}); err == nil {
		t.Error("an invalid time was accepted")
	}
	if got := open.WithDefaults(ends).Until; !got.IsZero() {
		t.Errorf("the page got the default page's end: %s", got)
	}
}

func TestUntilDoesNotCountAsSize(t *testing.T) {
	p := Page{Bodies: map[string]string{"page.txt": strings.Repeat("x", MaxSize-len("page.txt"))}, Until: time.Unix(0, 0)}
	if _, err := Parse(p.Data()); err != nil {
		t.Error(err)
	}
}

func TestMinute(t *testing.T) {
	for give, want := range map[string]string{
		"2026-01-31T17:05:00Z":      "2026-01-31T17:05:00Z",
		"2026-01-31T17:04:00.001Z":  "2026-01-31T17:05:00Z",
		"2026-01-31T18:04:59+01:00": "2026-01-31T17:05:00Z",
		"2026-03-29T02:30:00+05:45": "2026-03-28T20:45:00Z",
		"9999-12-31T23:59:59Z":      "9999-12-31T23:59:00Z",
		"9999-12-31T23:59:59-12:00": "9999-12-31T23:59:00Z",
		"0001-01-01T00:00:01Z":      "0001-01-01T00:01:00Z",
	} {
		until, err := time.Parse(time.RFC3339, give)
		if err != nil {
			t.Fatal(err)
		}
		if got := Minute(until).Format(time.RFC3339); got != want {
			t.Errorf("%s: %s, want %s", give, got, want)
		}
	}
	if !Minute(time.Time{}).IsZero() {
		t.Error("no end became one")
	}
}
