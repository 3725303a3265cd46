package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"go.uber.org/zap"
)

func TestNew(t *testing.T) {
	for _, test := range []struct {
		name, format, level string
		wantError           string
		wantLines           int
	}{
		{name: "json from info", format: JSON, level: "info", wantLines: 1},
		{name: "console from debug", format: Console, level: "debug", wantLines: 2},
		{name: "unknown format", format: "xml", level: "info", wantError: "json or console"},
		{name: "unknown level", format: JSON, level: "loud", wantError: "debug, info, warn or error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			log, err := New(&out, test.format, test.level)
			if test.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantError) {
					t.Fatalf("error %v, want one that says %q", err, test.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			log.Debug("quiet")
			log.Info("loud", zap.String("evil", "a\nb"))
			if got := strings.Count(out.String(), "\n"); got != test.wantLines {
				t.Errorf("%d lines, want %d:\n%s", got, test.wantLines, out.String())
			}
		})
	}
}

func TestJSONLinesAreObjects(t *testing.T) {
	var out bytes.Buffer
	log, err := New(&out, JSON, "info")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("hello", zap.Int("n", 1))
	var line struct {
		Time, Level, Message string
		N                    int
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Message != "hello" || line.N != 1 || line.Time == "" || line.Level != "info" {
		t.Errorf("%v: %s", err, out.String())
	}
}

// TestTextsAreShortenedAndEscaped: whatever an error quotes, the log line is readable.
func TestTextsAreShortenedAndEscaped(t *testing.T) {
	for _, format := range []string{JSON, Console} {
		var out bytes.Buffer
		log, err := New(&out, format, "info")
		if err != nil {
			t.Fatal(err)
		}
		long := strings.Repeat("evil\n\x1b\x7f\u009b\u202e\u2028", 1<<18)
		log.With(zap.String("with", long)).Error("refused\n\u202e", zap.Error(errors.New(long)), zap.String("text", long))
		if n := out.Len(); n < 3*maxText || n > 12*maxText {
			t.Errorf("%s: %d bytes", format, n)
		}
		if text := strings.TrimSuffix(out.String(), "\n"); strings.ContainsFunc(text, func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }) {
			t.Errorf("%s: a line has invisible characters", format)
		}
		if !strings.Contains(out.String(), "bytes in total") {
			t.Errorf("%s does not say that the text was shortened", format)
		}
	}
}
