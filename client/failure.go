package client

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// A TransportsError says that no transport works, and why each does not.
type TransportsError struct {
	Failed map[Transport]error
	main   error // what tells most
}

func (e *TransportsError) Error() string {
	var text []string
	for _, t := range preference {
		if err := e.Failed[t]; err != nil {
			text = append(text, fmt.Sprintf("%s: %v", t, err))
		}
	}
	return "no transport works: " + strings.Join(text, "; ")
}

func (e *TransportsError) Unwrap() error { return e.main }

// A fleetingError says that one connection after the other was lost soon after it
// had worked: another transport may do better.
type fleetingError struct{ cause error }

func (e *fleetingError) Error() string { return e.cause.Error() }
func (e *fleetingError) Unwrap() error { return e.cause }

// cause is why a choice has found nothing.
func (c *choice) cause() error {
	e := &TransportsError{Failed: make(map[Transport]error)}
	for _, t := range c.tries {
		err := t.err
		if err == nil {
			err = silence(t.transport)
		}
		e.Failed[t.transport] = err
		// What may pass decides whether to try again; a handshake tells least.
		if e.main == nil || temporary(err) || !temporary(e.main) {
			e.main = err
		}
	}
	if len(e.Failed) == 1 {
		return e.main
	}
	return e
}

// silence is why a transport does not work of which nothing came.
func silence(t Transport) error {
	if t == WebTransport {
		return errNoUDP
	}
	return errNoSignal
}

// refusal reports whether the server itself refuses what was asked for, so that
// no transport can change it (PROTOCOL.md §15.6).
func refusal(err error, handshake bool) bool {
	e, ok := errors.AsType[*ProblemError](err)
	if !ok || e.Name == "" || e.Temporary() {
		return false
	}
	return !handshake || e.Name != "bad-handshake" && e.Name != "upgrade-required"
}

// refused reports whether a request was answered, and would be again, by an error.
func refused(err error) bool {
	e, ok := errors.AsType[*ProblemError](err)
	return ok && !e.Temporary()
}

// hopeless reports whether other transports would fail for the same reason now:
// nobody is there, or the server wants to be left alone (PROTOCOL.md §15.3).
func hopeless(err error, handshake bool) bool {
	if e, ok := errors.AsType[*ProblemError](err); ok {
		busy := e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable
		return busy && (e.Name != "" || !handshake)
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return true
	}
	_, noName := errors.AsType[*net.DNSError](err)
	return noName
}

// unauthorized reports whether a token was not taken.
func unauthorized(err error) bool {
	e, ok := errors.AsType[*ProblemError](err)
	return ok && e.Status == http.StatusUnauthorized
}

// unreached reports whether the request of err surely did not reach a server.
func unreached(err error) bool {
	_, answered := errors.AsType[*ProblemError](err)
	return !answered && hopeless(err, false)
}
