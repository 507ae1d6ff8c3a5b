package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// problemPrefix begins the types of the server's own problems (PROTOCOL.md
// §9.1).
const problemPrefix = "urn:duplex:problem:"

// A ProblemError is an answer that refuses (PROTOCOL.md §9, RFC 9457).
type ProblemError struct {
	Status int    // of HTTP
	Name   string // such as "topic-ended"; "" if it is no problem of a Duplex server
	Title  string // for people
	Detail string // for people; may be empty

	// RetryAfter is how long the server wants to be left alone.
	RetryAfter time.Duration
}

func (e *ProblemError) Error() string {
	text := fmt.Sprintf("%d %s", e.Status, e.Title)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Temporary reports whether the same request may succeed later.
func (e *ProblemError) Temporary() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return false
	}
	return e.Status >= 500 || e.Name == "key-in-progress"
}

// errorBytes bounds what is read of an answer that refuses.
const errorBytes = 16 << 10

// ReadProblem reads an answer that refuses, for [Options].WebTransport.
func ReadProblem(resp *http.Response) *ProblemError { return problemOf(resp) }

func problemOf(resp *http.Response) *ProblemError {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, errorBytes)) // the status says enough
	return parseProblem(resp.StatusCode, resp.Header, body)
}

// parseProblem reads an answer that refuses, whoever made it.
func parseProblem(status int, header http.Header, body []byte) *ProblemError {
	e := &ProblemError{Status: status, Title: http.StatusText(status)}
	var said struct{ Type, Title, Detail string }
	if json.Unmarshal(body, &said) == nil {
		e.Name = problemName(said.Type)
		if said.Title != "" {
			e.Title = said.Title
		}
		e.Detail = said.Detail
	}
	now := time.Now()
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date // a date in Retry-After is by the same clock, which may not be ours
	}
	e.RetryAfter = retryAfter(header.Get("Retry-After"), now)
	return e
}

// problemName is "" if the type is none of the server's own.
func problemName(uri string) string {
	name, ok := strings.CutPrefix(uri, problemPrefix)
	if !ok {
		return ""
	}
	return name
}

// retryAfter reads both forms of RFC 9110 §10.2.3; zero if it is neither.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}

// A finalError will not pass: the server says what this client does not
// understand.
type finalError struct{ cause error }

func final(cause error) error { return &finalError{cause} }

func (e *finalError) Error() string { return e.cause.Error() }
func (e *finalError) Unwrap() error { return e.cause }

// temporary reports whether to try again. Whatever the network does may pass.
func temporary(err error) bool {
	if e, ok := errors.AsType[*ProblemError](err); ok {
		return e.Temporary()
	}
	_, isFinal := errors.AsType[*finalError](err)
	return !isFinal
}
