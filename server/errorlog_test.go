package server

import (
	"log/slog"
	"strings"
	"testing"
)

func TestErrorLog(t *testing.T) {
	var log logbook
	errors := newErrorLog(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	for said, level := range map[string]string{
		"http: TLS handshake error from 192.0.2.1:1: EOF":    "DEBUG",
		"http: panic serving 192.0.2.1:1: it fails\nat once": "WARN",
	} {
		errors.Print(said)
		if text := log.String(); !strings.Contains(text, "level="+level+" ") || strings.Count(text, "\n") != 1 {
			t.Errorf("%q: logged %q", said, text)
		}
		log.Reset()
	}
}
