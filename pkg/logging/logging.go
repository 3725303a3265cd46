// Package logging creates the zap logger of the controller and the page server.
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

// Formats of a log.
const (
	JSON    = "json"    // an object on each line, for programs
	Console = "console" // tab-separated, for people
)

// New creates a logger that writes to w in a format, JSON or Console, from a level on: debug,
// info, warn or error. It fails if the format or the level is unknown. The logger is safe for
// concurrent use. It shortens long texts and escapes what cannot be seen.
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

// maxText is how much of a text a log line has, in bytes: an API server's error may quote an
// object of a megabyte.
const maxText = 8 << 10

// bounded is a core that shortens long texts and escapes what a terminal would not show
// unchanged, because the log quotes what people write.
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

// replaced returns a field with the shortened and escaped text, or the field itself if that
// is the same. Both formats escape ASCII control characters in fields themselves.
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
	return strings.ToValidUTF8(s[:maxText], "") + fmt.Sprintf("… (%d bytes in total)", len(s))
}

// visible escapes runes that cannot be seen, except those below from.
func visible(s string, from rune) string {
	return printable.Escape(s, func(r rune) bool { return r >= from && !unicode.IsPrint(r) })
}
