package server

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"go.uber.org/zap/zapcore"
)

// slogCore gives what a library tells zap to a slog.Handler, for Debug only:
// without what was for debugging the library.
type slogCore struct {
	handler slog.Handler
	fields  []zapcore.Field
}

// Enabled is zapcore.Core's.
func (c *slogCore) Enabled(level zapcore.Level) bool {
	return level > zapcore.DebugLevel && c.handler.Enabled(context.Background(), slog.LevelDebug)
}

// With is zapcore.Core's.
func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{c.handler, append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

// Check is zapcore.Core's.
func (c *slogCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

// Write is zapcore.Core's.
func (c *slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	values := zapcore.NewMapObjectEncoder()
	for _, list := range [][]zapcore.Field{c.fields, fields} {
		for _, f := range list {
			f.AddTo(values)
		}
	}
	record := slog.NewRecord(e.Time, slog.LevelDebug, e.Message, 0)
	record.AddAttrs(slog.String("from", e.LoggerName), slog.String("level", e.Level.String()))
	for _, name := range slices.Sorted(maps.Keys(values.Fields)) {
		record.AddAttrs(slog.Any(name, values.Fields[name]))
	}
	return c.handler.Handle(context.Background(), record)
}

// Sync is zapcore.Core's.
func (c *slogCore) Sync() error { return nil }
