// Package logging makes the zap logger of every program here.
package logging

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"maintenance-controller.io/pkg/printable"
)

// Formats of a log line.
const (
	JSON    = "json"    // one object a line, for machines
	Console = "console" // tab-separated, for people
)

// New makes a logger that writes lines of a format, from a level on (debug,
// info, warn, error), to w. It is safe for concurrent use.
func New(w io.Writer, format, level string) (*zap.Logger, error) {
	from, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("log level %q: give debug, info, warn or error", level)
	}
	config := zap.NewProductionEncoderConfig()
	config.TimeKey = "time"
	config.MessageKey = "message"
	config.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	config.EncodeDuration = zapcore.StringDurationEncoder
	var encoder zapcore.Encoder
	switch format {
	case JSON:
		encoder = zapcore.NewJSONEncoder(config)
	case Console:
		encoder = zapcore.NewConsoleEncoder(config)
	default:
		return nil, fmt.Errorf("log format %q: give %s or %s", format, JSON, Console)
	}
	return zap.New(bounded{zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), from)}), nil
}

// maxText bounds a text in a log line, in bytes: an API server's error may quote
// an object of a megabyte.
const maxText = 8 << 10

// bounded is a core that cuts long texts off, and lets nothing through that a
// terminal would not show as it is: what people write is quoted in the log.
type bounded struct{ zapcore.Core }

func (b bounded) With(fields []zapcore.Field) zapcore.Core {
	return bounded{b.Core.With(bound(fields))}
}

func (b bounded) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(entry.Level) {
		return checked.AddCore(entry, b)
	}
	return checked
}

func (b bounded) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	entry.Message = visible(clip(entry.Message), 0)
	return b.Core.Write(entry, bound(fields))
}

func bound(fields []zapcore.Field) []zapcore.Field {
	out := make([]zapcore.Field, len(fields))
	for i, f := range fields {
		err, isError := f.Interface.(error)
		named, isNamed := f.Interface.(fmt.Stringer)
		switch {
		case f.Type == zapcore.StringerType && isNamed:
			f = replaced(f, fmt.Sprint(named))
		case f.Type == zapcore.StringType:
			f = replaced(f, f.String)
		case f.Type == zapcore.ErrorType && isError && err != nil:
			f = replaced(f, err.Error())
		}
		out[i] = f
	}
	return out
}

// replaced is a field with its text as it may be written, or the field if that is
// the same. Both formats escape ASCII's control characters in fields themselves.
func replaced(f zapcore.Field, text string) zapcore.Field {
	if written := visible(clip(text), ' '); written != text {
		return zap.String(f.Key, written)
	}
	return f
}

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + fmt.Sprintf("… (%d bytes in all)", len(s))
}

// visible escapes what cannot be seen. What is below a rune is left to others.
func visible(s string, from rune) string {
	return printable.Escape(s, func(r rune) bool { return r >= from && !unicode.IsPrint(r) })
}
