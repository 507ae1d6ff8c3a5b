package websocket

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/duplexhq/duplex/websocket/wire"
)

// CloseCode says why a connection is closed (RFC 6455 §7.4).
type CloseCode = wire.CloseCode

// The close codes that applications use or meet. Codes from 3000 are registered by libraries,
// those from 4000 to 4999 are free for private use.
const (
	CloseNormal           = wire.CloseNormal
	CloseGoingAway        = wire.CloseGoingAway
	CloseProtocolError    = wire.CloseProtocolError
	CloseUnsupportedData  = wire.CloseUnsupportedData
	CloseNoStatus         = wire.CloseNoStatus
	CloseInvalidPayload   = wire.CloseInvalidPayload
	ClosePolicyViolation  = wire.ClosePolicyViolation
	CloseTooBig           = wire.CloseTooBig
	CloseMissingExtension = wire.CloseMissingExtension
	CloseInternalError    = wire.CloseInternalError
	CloseServiceRestart   = wire.CloseServiceRestart
	CloseTryAgainLater    = wire.CloseTryAgainLater
)

// CloseError is the end of a connection by a close frame. It matches [net.ErrClosed].
type CloseError struct {
	Code   CloseCode // CloseNoStatus if the peer gave none
	Reason string

	// Remote is set if the peer closed. If not, this side did: by [Conn.Close], or because the
	// peer broke the protocol or a limit.
	Remote bool
}

func (e *CloseError) Error() string {
	side := "closed"
	if e.Remote {
		side = "closed by peer"
	}
	if e.Reason == "" {
		return fmt.Sprintf("websocket: %s (%d)", side, e.Code)
	}
	return fmt.Sprintf("websocket: %s (%d %q)", side, e.Code, e.Reason)
}

func (e *CloseError) Unwrap() error { return net.ErrClosed }

var (
	// ErrIdle is what a read gives when nothing arrived for the time set with [Conn.SetReadIdle].
	ErrIdle = errors.New("websocket: nothing received in time")

	// ErrNoPong has ended a connection whose peer did not answer a keepalive ping in time.
	ErrNoPong = errors.New("websocket: no pong in time")

	// ErrText refuses to send a text message that is not UTF-8 (RFC 6455 §5.6).
	ErrText = errors.New("websocket: text is not UTF-8")

	errMessageType = errors.New("websocket: message is neither text nor binary")
	errClientFrame = errors.New("websocket: a client cannot send shared frames: each needs its own mask")
	errStaleReader = errors.New("websocket: reader of an earlier message")
	errWriterDone  = errors.New("websocket: writer is closed")
)

// lostError is the end of a connection without a closing handshake. It matches both its cause and
// net.ErrClosed.
type lostError struct{ cause error }

func (e *lostError) Error() string   { return "websocket: connection lost: " + e.cause.Error() }
func (e *lostError) Unwrap() []error { return []error{e.cause, net.ErrClosed} }

// HandshakeError is a handshake that did not lead to a connection.
type HandshakeError struct {
	// Status is the HTTP status: the one to answer with, or, from Dial, the one the server
	// answered with.
	Status int

	// Field is the part of the message that is missing or wrong: a header field such as
	// "Sec-WebSocket-Key", or "method", "version", "status". It may be empty.
	Field string

	// Reason says in a few words what is wrong. It repeats nothing of the peer's.
	Reason string

	// Header holds the fields that an answer with Status must carry, such as
	// Sec-WebSocket-Version with 426. It is nil from Dial.
	Header http.Header

	// Body is the beginning, at most 1 KiB, of what the server answered. Only Dial sets it.
	Body []byte
}

func (e *HandshakeError) Error() string {
	text := "websocket: handshake"
	if e.Status != 0 {
		text += fmt.Sprintf(" (%d %s)", e.Status, http.StatusText(e.Status))
	}
	if e.Field != "" {
		text += ": " + e.Field
	}
	return text + ": " + e.Reason
}
