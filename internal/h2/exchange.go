package h2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/duplexhq/duplex/internal/h2/wire"
)

// An exchange is a request while its handler runs.
type exchange struct {
	stream  *stream
	request *http.Request
	cancel  context.CancelFunc
	answer  http.Handler // not the connection's, for what it cannot judge; or nil

	// The handler owns these.
	header   http.Header
	chosen   http.Header // as it was when the status was chosen
	status   int         // 0: not chosen
	length   int64       // of the body, as the handler has announced it; -1 if it has not
	written  int64
	trailers []string // that the handler has announced
	buffer   *answerBuffer
	buffered int
	quiet    bool // no body is sent
	left     bool // somebody has taken the stream

	// The connection's mu guards these.
	changed         sync.Cond // something that is waited for
	body            *requestBody
	headSent        bool
	continued       bool  // 100 was sent, or is not awaited
	done            bool  // the handler has returned
	err             error // of a stream that has ended before its time
	readBy, writeBy deadline
}

// run calls the handler.
func (x *exchange) run() {
	c := x.stream.conn
	w := &responseWriter{x}
	panicked := true
	defer func() {
		if panicked {
			if e := recover(); e != nil && e != http.ErrAbortHandler {
				stack := make([]byte, 64<<10)
				stack = stack[:runtime.Stack(stack, false)]
				c.server.options.ErrorLog.Printf("http2: panic serving %s: %v\n%s", c.remote, e, stack)
			}
		}
		x.finish(panicked)
	}()
	h := x.answer
	if h == nil {
		h = c.handler
	}
	h.ServeHTTP(w, x.request)
	panicked = false
}

// finish ends the answer, unless somebody has taken the stream.
func (x *exchange) finish(panicked bool) {
	s, c := x.stream, x.stream.conn
	var last []byte
	if x.buffer != nil && !x.left {
		last = append(last, x.buffer[:x.buffered]...)
	}
	c.mu.Lock()
	defer c.unlock()
	switch {
	case s.wire.Over() || x.left:
	case panicked || x.length >= 0 && x.written < x.length && !x.quiet:
		s.reset(wire.InternalError, net.ErrClosed)
	default:
		x.conclude(last)
	}
	x.done = true
	x.readBy.stop()
	x.writeBy.stop()
	x.cancel()
	x.free()
	if x.body != nil {
		x.body.close()
	}
	s.x = nil
	c.returned()
	c.flush()
}

// free gives the buffer back.
func (x *exchange) free() {
	if x.buffer != nil {
		answerBuffers.Put(x.buffer)
		x.buffer = nil
	}
}

// conclude sends what is left of an answer, and its end. The caller holds mu.
func (x *exchange) conclude(last []byte) {
	s := x.stream
	if !x.headSent {
		if x.status == 0 {
			x.choose(http.StatusOK)
		}
		x.sendHead(last, true)
		if s.wire.LocalEnded() {
			s.end = true
			s.sent()
			return
		}
	}
	if x.quiet {
		last = nil
	}
	trailer := x.trailer()
	if len(trailer) == 0 {
		if len(last) > 0 {
			s.put(true, last)
		} else {
			s.put(true)
		}
		return
	}
	if len(last) > 0 && !s.put(false, last) {
		// Rare enough to wait for: fields cannot stand in rest.
		s.conn.flush()
		for len(s.rest) > 0 && x.err == nil {
			x.wait()
		}
	}
	if !s.wire.Over() {
		for _, f := range trailer {
			s.conn.m.Field(f[0], f[1], false)
		}
		s.conn.m.SendHeaders(s.wire, true)
		s.end = true
		s.sent()
	}
}

// take is Take.
func (x *exchange) take(owner Owner) (*Stream, bool) {
	s, c := x.stream, x.stream.conn
	c.mu.Lock()
	defer c.unlock()
	if x.done || !x.headSent || x.buffered > 0 || x.quiet || x.length >= 0 || len(s.rest) > 0 || !s.wire.RemoteEnded() || s.wire.Over() || s.owner != nil {
		return nil, false
	}
	s.owner, s.silent, x.left = owner, true, true
	p := s.wire.Priority()
	p.Incremental = true
	c.m.Prioritize(s.wire, p)
	return &Stream{s}, true
}

// lost is called with mu held, when the stream has ended before its time.
func (x *exchange) lost(why error) {
	x.err = why
	x.cancel()
	if x.body != nil {
		x.body.drop()
	}
	x.changed.Broadcast()
}

// send puts a piece of the body, and waits until it has left. The caller does
// not hold mu.
func (x *exchange) send(p []byte) error {
	s, c := x.stream, x.stream.conn
	c.mu.Lock()
	defer c.unlock()
	if err := x.writable(); err != nil {
		return err
	}
	if !x.headSent {
		x.sendHead(p, false)
	}
	if len(p) > 0 && !x.quiet {
		if !s.put(false, p) {
			c.flush()
			for len(s.rest) > 0 && x.err == nil && !x.writeBy.passed {
				x.wait()
			}
		}
	}
	c.flush()
	return x.writable()
}

// wait waits for changed. What owners are told is told before.
func (x *exchange) wait() {
	if c := x.stream.conn; len(c.told) > 0 {
		c.unlock()
		c.mu.Lock()
		return
	}
	x.changed.Wait()
}

// writable gives the error of an answer that cannot go on. The caller holds mu.
func (x *exchange) writable() error {
	switch {
	case x.done:
		return errReturned
	case x.left:
		return http.ErrHijacked
	case x.writeBy.passed:
		return os.ErrDeadlineExceeded
	case x.err != nil:
		return x.err
	case x.stream.wire.Over() && !x.headSent, x.stream.conn.closed:
		return net.ErrClosed
	}
	return nil
}

var (
	errReturned = errors.New("h2: the handler has returned")
	errStalled  = fmt.Errorf("h2: the client took nothing for too long: %w", os.ErrDeadlineExceeded)
)

// A deadline of reads or writes. The connection's mu guards it.
type deadline struct {
	timer  *time.Timer
	turn   int // of the timer that counts
	passed bool
}

func (d *deadline) stop() {
	d.turn++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// set calls passed, with mu held, when the time has come. Zero is never.
func (x *exchange) set(d *deadline, t time.Time, passed func()) error {
	c := x.stream.conn
	c.mu.Lock()
	defer c.unlock()
	if x.done {
		return errReturned
	}
	d.stop()
	d.passed = false
	if t.IsZero() {
		return nil
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		passed()
		c.flush()
		return nil
	}
	turn := d.turn
	d.timer = time.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.unlock()
		if d.turn == turn && !x.done {
			d.passed = true
			passed()
			c.flush()
		}
	})
	return nil
}

// setWriteBy bounds writes. One that is cut off resets the stream.
func (x *exchange) setWriteBy(t time.Time) error {
	return x.set(&x.writeBy, t, func() {
		if !x.left {
			x.stream.reset(wire.Cancel, os.ErrDeadlineExceeded)
		}
	})
}

func (x *exchange) setReadBy(t time.Time) error {
	return x.set(&x.readBy, t, x.changed.Broadcast)
}
