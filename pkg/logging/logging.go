// Package logging makes the zap logger of every program here.
package logging

import (
	"fmt"
	"io"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
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
// an object of a megabyte. Both formats escape control characters in fields.
const maxText = 8 << 10

// bounded is a core that cuts long texts off.
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
	entry.Message = clip(entry.Message)
	return b.Core.Write(entry, bound(fields))
}

func bound(fields []zapcore.Field) []zapcore.Field {
	out := make([]zapcore.Field, len(fields))
	for i, f := range fields {
		err, isError := f.Interface.(error)
		named, isNamed := f.Interface.(fmt.Stringer)
		switch {
		case f.Type == zapcore.StringerType && isNamed && len(fmt.Sprint(named)) > maxText:
			f = zap.String(f.Key, clip(fmt.Sprint(named)))
		case f.Type == zapcore.StringType:
			f.String = clip(f.String)
		case f.Type == zapcore.ErrorType && isError && err != nil && len(err.Error()) > maxText:
			f = zap.String(f.Key, clip(err.Error()))
		}
		out[i] = f
	}
	return out
}

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + fmt.Sprintf("… (%d bytes in all)", len(s))
}
