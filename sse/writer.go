package sse

import (
	"cmp"
	"fmt"
	"net/http"
	"time"
)

// LastEventID is the id after which the client wants to go on, empty if it
// says none (HTML §9.2.4).
func LastEventID(r *http.Request) string {
	return r.Header.Get("Last-Event-ID")
}

const defaultWriteTimeout = 30 * time.Second

// WriterOptions adjusts a [Writer]. Nil is all defaults.
type WriterOptions struct {
	// WriteTimeout bounds each write, after which the client counts as gone.
	// If zero, 30 seconds are used. If negative, there is no limit. Either way
	// http.Server.WriteTimeout, which would end every stream at that age, no
	// longer applies.
	WriteTimeout time.Duration
}

// Writer is a response that is an event stream. Each write is flushed before it
// returns. One goroutine may write at a time, and none after the handler has
// returned; the request's context tells when the client is gone.
type Writer struct {
	w          http.ResponseWriter
	controller *http.ResponseController
	timeout    time.Duration // zero if none, or if w takes no deadlines
	buf        []byte
}

// NewWriter begins the response: it sets the header and sends it with status
// 200. opts may be nil.
//
// If w cannot do what a stream needs, nothing has been sent, and the error
// (which matches http.ErrNotSupported) says what is missing. The usual cause is
// a middleware's ResponseWriter without an Unwrap method.
func NewWriter(w http.ResponseWriter, r *http.Request, opts *WriterOptions) (*Writer, error) {
	var o WriterOptions
	if opts != nil {
		o = *opts
	}
	s := &Writer{
		w:          w,
		controller: http.NewResponseController(w),
		timeout:    max(0, cmp.Or(o.WriteTimeout, defaultWriteTimeout)),
	}

	// Lifts the server's limit, and finds out whether there can be another.
	if err := s.controller.SetWriteDeadline(time.Time{}); err != nil {
		if o.WriteTimeout > 0 || serverLimitsWrites(r) {
			return nil, fmt.Errorf("set a write deadline through %T: %w", w, err)
		}
		s.timeout = 0
	}

	header := w.Header()
	set := map[string]string{
		"Content-Type":  "text/event-stream",
		"Cache-Control": "no-store, no-transform",
		// Asks nginx and its kind not to buffer.
		"X-Accel-Buffering": "no",
	}
	// Illegal in HTTP/2 and HTTP/3 (RFC 9113 §8.2.2, RFC 9114 §4.2).
	if r.ProtoMajor == 1 {
		set["Connection"] = "keep-alive"
	}
	for name, value := range set {
		header.Set(name, value)
	}
	if err := s.startTimeout(); err != nil {
		return nil, fmt.Errorf("set a write deadline through %T: %w", w, err)
	}
	if err := s.controller.Flush(); err != nil {
		for name := range set {
			header.Del(name)
		}
		return nil, fmt.Errorf("flush through %T: %w", w, err)
	}
	return s, s.stopTimeout()
}

// serverLimitsWrites reports whether a stream would end by itself.
func serverLimitsWrites(r *http.Request) bool {
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	return ok && server.WriteTimeout > 0
}

// Send writes an event. A *FieldError leaves the stream as it was; any other
// error is the end of it.
func (s *Writer) Send(e *Event) error {
	block, err := AppendEvent(s.buf[:0], e)
	if err != nil {
		return err
	}
	return s.writeBuffer(block)
}

// Comment writes a comment, which receivers ignore. One every 15 seconds or so
// keeps proxies from closing a quiet stream (HTML §9.2.7).
func (s *Writer) Comment(text string) error {
	return s.writeBuffer(AppendComment(s.buf[:0], text))
}

// Retry sets the time after which the client connects again.
func (s *Writer) Retry(retry time.Duration) error {
	return s.writeBuffer(AppendRetry(s.buf[:0], retry))
}

func (s *Writer) writeBuffer(block []byte) error {
	s.buf = block
	_, err := s.Write(block)
	if cap(s.buf) > keptBytes {
		s.buf = nil
	}
	return err
}

// Write writes blocks as [Append] and its like have made them, for blocks that
// go to several clients, or several in one write.
func (s *Writer) Write(blocks []byte) (int, error) {
	if err := s.startTimeout(); err != nil {
		return 0, err
	}
	n, err := s.w.Write(blocks)
	if err != nil {
		return n, err
	}
	if err := s.controller.Flush(); err != nil {
		return n, err
	}
	return n, s.stopTimeout()
}

func (s *Writer) startTimeout() error {
	if s.timeout == 0 {
		return nil
	}
	return s.controller.SetWriteDeadline(time.Now().Add(s.timeout))
}

// stopTimeout is needed after each write: over HTTP/2 a deadline that passes
// resets the stream even if nothing is being written.
func (s *Writer) stopTimeout() error {
	if s.timeout == 0 {
		return nil
	}
	return s.controller.SetWriteDeadline(time.Time{})
}
