package view

import (
	"errors"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/duplexhq/duplex/internal/h2"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/presence"
)

// A sharedStream is an answer that never ends by itself, on a stream of an
// HTTP/2 connection: without a goroutine, and what several streams of one
// connection are given leaves in one write.
type sharedStream struct {
	handler *Handler
	lease   Lease
	stream  *h2.Stream
	sub     *topic.Subscriber
	visit   *presence.Visit // until the stream is over
	sent    atomic.Int64
	at      place
	retries bool // it says after which time to come back
}

// followShared lets the HTTP/2 server send an answer whose header has left. It
// reports false if it cannot; else the visit is the stream's.
func (h *Handler) followShared(w http.ResponseWriter, r *http.Request, f follower, opts topic.SubscribeOptions, selection topic.Selection, visit *presence.Visit) bool {
	if h.opts.TakeStream == nil || !h.connections.enter() {
		return false
	}
	s := &sharedStream{handler: h, visit: visit, retries: f.retries}
	var taken bool
	if s.stream, taken = h2.Take(w, s); !taken {
		h.connections.leave()
		return false
	}
	s.lease = h.opts.TakeStream(w, r)
	h.connections.add(s)
	s.sub = h.hub.Subscribe(s, opts, selection)
	s.stream.Start()
	return true
}

// Send is the hub's.
func (s *sharedStream) Send(b topic.Batch) bool {
	if b.End != nil {
		s.end(b.End, b.Later, b.Chunks...)
		return true
	}
	taken, later := s.stream.Write(b.Chunks...)
	s.sent.Add(sizeOf(b.Chunks))
	flushLater(later, b.Later)
	return taken
}

// flushLater flushes at once where nobody does it later.
func flushLater(f h2.Flusher, later func(topic.Flusher)) {
	switch {
	case f == nil:
	case later != nil:
		later(f)
	default:
		f.Flush()
	}
}

// Cut is the hub's.
func (s *sharedStream) Cut(end error) { s.end(end, nil) }

// end ends the answer.
func (s *sharedStream) end(why error, later func(topic.Flusher), chunks ...[]byte) {
	if s.handler.logEnd(why); errors.Is(why, topic.ErrClosed) {
		chunks = append(slices.Clone(chunks), s.handler.retry(follower{retries: s.retries}))
	}
	s.sent.Add(sizeOf(chunks))
	flushLater(s.stream.Finish(chunks...), later)
}

// Drained goes on.
func (s *sharedStream) Drained() { s.sub.Writable() }

// Closed is the end.
func (s *sharedStream) Closed(error) {
	s.sub.Leave()
	s.visit.End()
	s.handler.connections.remove(s)
	s.lease.Over(s.sent.Load())
}

// goAway is for connections that wait for a request: what is being answered, the
// hub ends.
func (s *sharedStream) goAway() {}

func (s *sharedStream) place() *place { return &s.at }

// cut ends the stream at once, on a goroutine of its own: Closed changes what
// the caller has locked.
func (s *sharedStream) cut() { go s.stream.Reset() } // Ends at once.
