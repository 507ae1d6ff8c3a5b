package sse

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// message is the type of an event that names none (HTML §9.2.6, "dispatch the
// event", step 5).
const message = "message"

// Event is one event of a stream.
type Event struct {
	// ID is what a client sends as Last-Event-ID to go on after this event.
	// A received event without an id of its own has that of the events before
	// it, as MessageEvent.lastEventId does. Sent empty, it is left out.
	ID string

	// Type is the name that listeners use. A received event that names none
	// has the type "message"; sent, "message" and "" are the same and left out.
	Type string

	// Data is the text. The format carries it as lines: CR and CRLF arrive as
	// LF, and bytes that are not UTF-8 as U+FFFD.
	Data []byte

	// Origin is the scheme, host and port that the event came from, after
	// redirects, as in MessageEvent.origin. Only [Events] sets it; it is not
	// sent.
	Origin string
}

// FieldError says that a value cannot be sent because it would end its line,
// and so let its rest pass for another field, or because receivers ignore it.
type FieldError struct {
	Field string // "id" or "event"
	Value string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("sse: %s %q holds CR, LF or NUL", e.Field, e.Value)
}

// text is what the encoder takes: either form, so that callers need not convert.
type text interface{ ~string | ~[]byte }

// Append appends an event as a whole block, blank line included. Each of id,
// typ and data may be a string or a []byte. An empty id is left out, and so is
// a type that is empty or "message". Data may hold anything; each of its lines
// becomes a data field.
//
// An id or a type with CR, LF or NUL gives a *FieldError and dst as it was.
func Append[I, T, D text](dst []byte, id I, typ T, data D) ([]byte, error) {
	if breaksField(id) {
		return dst, &FieldError{Field: "id", Value: string(id)}
	}
	if breaksField(typ) {
		return dst, &FieldError{Field: "event", Value: string(typ)}
	}
	if len(typ) > 0 && string(typ) != message {
		dst = append(dst, "event: "...)
		dst = append(dst, typ...)
		dst = append(dst, '\n')
	}
	if len(id) > 0 {
		dst = append(dst, "id: "...)
		dst = append(dst, id...)
		dst = append(dst, '\n')
	}
	dst = appendLines(dst, "data: ", data)
	return append(dst, '\n'), nil
}

// AppendEvent is [Append] for an Event.
func AppendEvent(dst []byte, e *Event) ([]byte, error) {
	return Append(dst, e.ID, e.Type, e.Data)
}

// AppendComment appends a block that receivers ignore, one comment per line of
// text. An empty one keeps a connection alive in three bytes.
func AppendComment[S text](dst []byte, comment S) []byte {
	if len(comment) == 0 {
		return append(dst, ":\n\n"...)
	}
	return append(appendLines(dst, ": ", comment), '\n')
}

// AppendRetry appends a block that sets the receiver's reconnection time, in
// whole milliseconds. A negative one counts as zero.
func AppendRetry(dst []byte, retry time.Duration) []byte {
	dst = append(dst, "retry: "...)
	dst = strconv.AppendInt(dst, max(0, retry.Milliseconds()), 10)
	return append(dst, "\n\n"...)
}

// breaksField reports whether a field cannot hold s on one line. NUL is among
// them since it makes a receiver ignore an id (HTML §9.2.6).
func breaksField[S text](s S) bool {
	for i := range len(s) {
		if c := s[i]; c == '\n' || c == '\r' || c == 0 {
			return true
		}
	}
	return false
}

// appendLines appends one field per line of s, where LF, CR and CRLF each end
// a line (HTML §9.2.5).
func appendLines[S text](dst []byte, field string, s S) []byte {
	dst = append(dst, field...)
	start := len(dst)
	dst = append(dst, s...)
	// Most data is one line, and IndexByte finds that out ten times faster
	// than the loop below.
	line := dst[start:]
	if bytes.IndexByte(line, '\n') < 0 && bytes.IndexByte(line, '\r') < 0 {
		return append(dst, '\n')
	}

	dst = dst[:start]
	start = 0
	for i := 0; i < len(s); i++ {
		if s[i] != '\n' && s[i] != '\r' {
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = append(dst, '\n')
		dst = append(dst, field...)
		if s[i] == '\r' && i+1 < len(s) && s[i+1] == '\n' {
			i++
		}
		start = i + 1
	}
	dst = append(dst, s[start:]...)
	return append(dst, '\n')
}
