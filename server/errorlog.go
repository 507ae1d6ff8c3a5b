package server

import (
	"bytes"
	"context"
	"log"
	"log/slog"
)

// newErrorLog gives net/http's own complaints, panics among them, to the logger.
// That somebody failed at a handshake is for Debug: on a public address it
// happens all the time.
func newErrorLog(logger *slog.Logger) *log.Logger {
	return log.New(complaints{logger}, "", 0)
}

type complaints struct{ logger *slog.Logger }

func (c complaints) Write(p []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.HasPrefix(p, []byte("http: TLS handshake error")) {
		level = slog.LevelDebug
	}
	c.logger.Log(context.Background(), level, string(bytes.TrimSuffix(p, []byte("\n"))))
	return len(p), nil
}
