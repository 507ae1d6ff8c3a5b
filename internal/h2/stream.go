package h2

import (
	"net"
	"net/http"
	"time"

	"github.com/duplexhq/duplex/internal/h2/wire"
)

// A stream is a request and its answer. The connection's mu guards it.
type stream struct {
	wire *wire.Stream
	conn *conn
	x    *exchange // while there is a handler; nil once it has left

	rest   [][]byte // of the answer: what there was no room for
	end    bool     // the answer ends after rest
	stall  *time.Timer
	moved  time.Duration // when something of rest was sent
	owner  Owner         // that has taken it; or nil
	silent bool          // the owner has not started, or is writing
	owed   *notice       // what it is told then
}

// put sends chunks, which belong to the stream until there is no rest.
func (s *stream) put(end bool, chunks ...[]byte) (all bool) {
	if s.wire.Over() || s.end {
		return true
	}
	s.end = end
	for i, p := range chunks {
		last := i == len(chunks)-1
		if n := s.conn.m.Offer(s.wire, p, end && last); n < len(p) {
			s.rest = append(s.rest, p[n:])
			s.rest = append(s.rest, chunks[i+1:]...)
			s.await()
			return false
		}
	}
	if len(chunks) == 0 && end {
		s.conn.m.Offer(s.wire, nil, true)
	}
	s.sent()
	return true
}

// goOn sends of the rest what there is room for.
func (s *stream) goOn() {
	for i, p := range s.rest {
		n := s.conn.m.Offer(s.wire, p, s.end && i == len(s.rest)-1)
		if n > 0 {
			s.moved = s.conn.since()
		}
		if n < len(p) {
			s.rest[i] = p[n:]
			s.rest = s.rest[i:]
			return
		}
		s.rest[i] = nil
	}
	s.rest = nil
	if s.stall != nil {
		s.stall.Stop()
		s.stall = nil
	}
	s.sent()
	if s.x != nil {
		s.x.changed.Broadcast()
	}
	if s.owner != nil && !s.end {
		s.tell(notice{owner: s.owner})
	}
}

// sent is called when there is no rest.
func (s *stream) sent() {
	if !s.end {
		return
	}
	// "A server MAY request that the client abort transmission of a request
	// without error by sending a RST_STREAM with an error code of NO_ERROR after
	// sending a complete response" (RFC 9113 §8.1).
	s.conn.m.Reset(s.wire, wire.NoError)
	s.over(nil)
}

// await has a stream reset that does not move.
func (s *stream) await() {
	timeout := s.conn.server.options.WriteTimeout
	s.moved = s.conn.since()
	if s.stall == nil {
		s.stall = time.AfterFunc(timeout, s.stalled) // stopped when there is no rest
	}
}

func (s *stream) stalled() {
	c := s.conn
	c.mu.Lock()
	defer c.unlock()
	if s.stall == nil || s.wire.Over() {
		return
	}
	if left := s.moved + c.server.options.WriteTimeout - c.since(); left > 0 {
		s.stall.Reset(left)
		return
	}
	s.reset(wire.Cancel, errStalled)
	c.flush()
}

// reset ends a stream before its time.
func (s *stream) reset(code wire.Code, why error) {
	if !s.wire.Over() {
		s.conn.m.Reset(s.wire, code)
		s.lost(why)
	}
}

// lost is for a stream that has ended before its time.
func (s *stream) lost(why error) {
	s.rest = nil
	if s.stall != nil {
		s.stall.Stop()
		s.stall = nil
	}
	if s.x != nil {
		s.x.lost(why)
	}
	s.over(why)
}

// over tells the owner that there is nothing more.
func (s *stream) over(why error) {
	if s.conn.m.Open() == 0 && !s.conn.closed {
		s.conn.resting = s.conn.since()
		// The timer may be set to a later ping.
		s.conn.timer.Reset(min(s.conn.server.options.IdleTimeout, s.conn.server.options.Ping))
	}
	if s.owner != nil {
		s.tell(notice{s.owner, true, why})
		s.owner = nil
	}
}

func (s *stream) tell(n notice) {
	if s.silent {
		s.owed = &n
		return
	}
	s.conn.told = append(s.conn.told, n)
}

// An Owner has taken a stream from its handler. It is told, by any goroutine and
// without a lock, what happens to it.
type Owner interface {
	// Drained says that everything was sent of which Write had left some.
	Drained()
	// Closed says that the stream is over: nil if the answer was sent. It is
	// called once, at the end.
	Closed(err error)
}

// A Flusher sends what several streams of its connection were given.
type Flusher interface{ Flush() }

// A Stream is one whose handler has left.
type Stream struct{ s *stream }

// Take lets the answer go on without its handler, which has written, and
// flushed, its header and maybe some of its body, has read the request's body,
// and returns soon. It reports false if the stream has to stay. Whoever has taken
// it may write at once, and is told nothing before Start.
//
// The answer is then of use in pieces: it shares the connection with others of
// its urgency (RFC 9218 §4.2).
func Take(w http.ResponseWriter, owner Owner) (*Stream, bool) {
	for {
		switch is := w.(type) {
		case *responseWriter:
			return is.x.take(owner)
		case interface{ Unwrap() http.ResponseWriter }:
			w = is.Unwrap()
		default:
			return nil, false
		}
	}
}

// Start has the owner told what happens, and what has happened.
func (t *Stream) Start() {
	s := t.s
	s.conn.mu.Lock()
	defer s.conn.unlock()
	s.speak()
}

func (s *stream) speak() {
	if s.silent = false; s.owed != nil {
		s.tell(*s.owed)
		s.owed = nil
	}
}

// Write sends chunks. If it has taken all, they are free: they leave at once,
// or, if later is not nil, when somebody calls its Flush, which the caller must
// see to. Else the stream keeps references to them until Drained, and they leave
// as the client takes them; one write at a time.
func (t *Stream) Write(chunks ...[]byte) (taken bool, later Flusher) { return t.write(false, chunks) }

// Finish sends chunks, after what is still to be sent, and ends the answer.
// They belong to the stream. Closed follows.
func (t *Stream) Finish(chunks ...[]byte) (later Flusher) {
	_, later = t.write(true, chunks)
	return later
}

func (t *Stream) write(end bool, chunks [][]byte) (taken bool, later Flusher) {
	s, c := t.s, t.s.conn
	c.mu.Lock()
	defer c.unlock()
	silent := s.silent
	switch {
	case s.wire.Over() || s.end:
		return true, nil
	case len(s.rest) > 0: // of a Finish, or of who does not wait
		s.rest, s.end = append(s.rest, chunks...), end
		return false, nil
	}
	s.silent = s.silent || !end // who is told by the result is not told by Drained
	if !s.put(end, chunks...) {
		c.flush()
	}
	taken = len(s.rest) == 0
	if !silent {
		if s.owed != nil && !s.owed.over && taken {
			s.owed = nil
		}
		s.speak()
	}
	switch {
	case len(c.m.Out) == 0 || c.m.Blocked || c.promised:
	case c.m.Open() <= 1: // there is nobody to share with
		c.flush()
	default:
		c.promised, later = true, c
	}
	return taken, later
}

// Reset ends the stream before its time. Closed follows.
func (t *Stream) Reset() {
	c := t.s.conn
	c.mu.Lock()
	defer c.unlock()
	t.s.reset(wire.Cancel, net.ErrClosed)
	c.flush()
}

// Flush sends what Write has left to it.
func (c *conn) Flush() {
	c.mu.Lock()
	defer c.unlock()
	c.promised = false
	c.flush()
}
