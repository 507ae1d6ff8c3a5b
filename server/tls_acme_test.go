package server

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

// A person is told what helps; who reads the log of a program, all the rest.
func TestACMEHints(t *testing.T) {
	for kind, want := range map[string]string{
		"dns":                     "AAAA",
		"connection":              "port 443",
		"unauthorized":            "port 443",
		"rateLimited":             "staging",
		"caa":                     "CAA",
		"serverInternal":          "its answer says why",
		"unsupportedContact":      "--tls-acme-email",
		"externalAccountRequired": "--tls-acme-key-id",
	} {
		err := fmt.Errorf("solve: %w", acme.Problem{Type: "urn:ietf:params:acme:error:" + kind})
		if got := acmeHint(err); !strings.Contains(got, want) {
			t.Errorf("%s: %s", kind, got)
		}
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	tellACME(logger, "cert_failed", map[string]any{"identifier": "example.com", "error": errors.New("no route to host")})
	tellACME(logger, "cert_obtained", map[string]any{"identifier": "example.com"})
	tellACME(logger, "cached_managed_cert", nil)
	if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, `level=ERROR msg="no new certificate; it is tried again" domain=example.com error="no route to host" hint="is the authority there?`) ||
		!strings.Contains(got, `level=INFO msg="new certificate" domain=example.com`) {
		t.Errorf("%s", got)
	}
}

func TestZapForDebug(t *testing.T) {
	for level, want := range map[slog.Level]string{
		slog.LevelInfo:  "",
		slog.LevelDebug: "level=DEBUG msg=refused from=acme level=error code=7 name=a\n",
	} {
		var log bytes.Buffer
		handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})
		logger := zap.New(&slogCore{handler: handler}).Named("acme").With(zap.String("name", "a"))
		logger.Debug("too much")
		logger.Error("refused", zap.Int("code", 7))
		if got := log.String(); got != want {
			t.Errorf("%v: %q, want %q", level, got, want)
		}
	}
}
