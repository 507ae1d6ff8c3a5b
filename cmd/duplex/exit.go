package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/cmd/duplex/internal/stdio"
	"github.com/duplexhq/duplex/cmd/duplex/internal/wstalk"
	"github.com/duplexhq/duplex/server"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/websocket"
)

// Exit codes, for scripts.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3 // the server answered, and said no
	exitUnreached   = 4 // there is no server, or not any more
	exitInterrupted = 130
)

// A usageError is found after the command line was parsed.
type usageError string

func (e usageError) Error() string { return string(e) }

// explain gives the exit code of an error, and what to tell the user.
func explain(ctx context.Context, err error) (code int, text string) {
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		if e, ok := errors.AsType[*server.LogError](err); ok {
			text = "stopped before the log in " + e.Place + " was open"
		}
		return exitInterrupted, text
	}
	text = err.Error()
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage, text
	}
	if e, ok := errors.AsType[*checkError](err); ok {
		return e.code, text
	}
	if _, ok := errors.AsType[wstalk.UsageError](err); ok {
		return exitUsage, text
	}
	if _, ok := errors.AsType[*server.LogError](err); ok {
		return exitFailed, text // also if its NATS is not reached: that is no server of topics
	}
	if _, ok := errors.AsType[*topic.NameError](err); ok {
		return exitUsage, strings.TrimPrefix(text, "topic: ")
	}
	if _, ok := errors.AsType[*client.ProblemError](err); ok {
		return exitRefused, "refused: " + text
	}
	if e, ok := errors.AsType[*websocket.HandshakeError](err); ok {
		if len(e.Body) > 0 {
			text += ": " + stdio.Printable(string(e.Body))
		}
		return exitRefused, text
	}
	if e, ok := errors.AsType[*websocket.CloseError](err); ok {
		if !e.Remote {
			return exitFailed, text // what came was against the protocol, or too big
		}
		return exitRefused, text
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op != "listen" {
		if e.Op == "dial" {
			text = "not reached: " + text
		}
		return exitUnreached, text
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		text = "not reached: " + text
		if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
			text += " (SSL_CERT_FILE can name the file of one that is to be trusted)"
		}
		return exitUnreached, text
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || errors.Is(err, http.ErrSchemeMismatch) {
		return exitUnreached, "not reached: " + text + " (it may speak HTTP without TLS)"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) {
		return exitUnreached, text
	}
	return exitFailed, text
}
