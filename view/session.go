package view

import (
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/presence"
	"github.com/duplexhq/duplex/websocket"
)

// A session is what every connection has that both gives events and takes them.
type session struct {
	handler *Handler
	lease   Lease
	sub     *topic.Subscriber
	visit   *presence.Visit // until it is over
	sent    atomic.Int64    // bytes
	greeted chan struct{}   // closed when the first batch was sent; nil then
	at      place
	version uint8 // of HTTP, the major one
	refused bool  // what the client of a WebSocket has sent was a reason to close; the reader's
}

// versions are the names of HTTP's versions, as ALPN has them.
var versions = [...]string{1: "http/1.1", 2: "h2", 3: "h3"}

// sessionStart is where the subscriptions begin that a session has from its
// request. It is fixed before the answer is sent.
func (h *Handler) sessionStart(r *http.Request, rd *reading) (start topic.Start, problem *Problem) {
	if len(rd.patterns) == 0 {
		return start, nil
	}
	start, err := h.start(r.Context(), rd.patterns, rd.lastEventID, rd.after)
	if err != nil {
		return start, h.problem(r, err)
	}
	return start, nil
}

// enterSession has a session's connection counted, and be on its topics.
func (h *Handler) enterSession(rd *reading) (*presence.Visit, *Problem) {
	visit, problem := h.visit(rd)
	if problem != nil {
		return nil, problem
	}
	if !h.connections.enter() {
		visit.End()
		return nil, newProblem("shutting-down", "")
	}
	return visit, nil
}

func newSession(h *Handler, r *http.Request, visit *presence.Visit) session {
	return session{handler: h, lease: noLease{}, visit: visit, greeted: make(chan struct{}), version: uint8(r.ProtoMajor)}
}

func (s *session) common() *session { return s }

func (s *session) place() *place { return &s.at }

// greet is for each batch.
func (s *session) greet() {
	if s.greeted != nil {
		close(s.greeted)
		s.greeted = nil
	}
}

// over is for a connection that has ended, which is known as t.
func (s *session) over(t taken) {
	s.visit.End()
	s.handler.connections.remove(t)
	s.lease.Over(s.sent.Load())
}

// goAway is the hub's business.
func (s *session) goAway() {}

// A closing is what to close a connection with. The zero closing means that
// the connection goes on.
type closing struct {
	code   websocket.CloseCode
	reason string
}

// Close codes of our own (PROTOCOL.md §8.8).
const (
	closeTooSlow websocket.CloseCode = 4408
	closeGap     websocket.CloseCode = 4410 // where no signal can tell of it
)

// closingFor says how a connection ends that the hub has given its last batch.
func (s *session) closingFor(end error) closing {
	if errors.Is(end, topic.ErrEnded) {
		return closing{websocket.CloseNormal, "end"}
	}
	if gap, ok := errors.AsType[*topic.GapError](end); ok {
		if gap.Oldest.Seq == 0 {
			return closing{code: closeGap}
		}
		return closing{closeGap, gap.Oldest.String()}
	}
	switch {
	case errors.Is(end, topic.ErrClosed):
		return closing{websocket.CloseGoingAway, "shutting-down"}
	case errors.Is(end, topic.ErrTooSlow):
		return closing{closeTooSlow, "too-slow"}
	}
	s.handler.logEnd(end)
	return closing{websocket.CloseInternalError, problemOf(end).Type}
}

// problem is problemOf for what went wrong with an operation on a topic; what is
// nobody's fault but ours is logged.
func (s *session) problem(name string, err error) *Problem {
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		s.handler.opts.Logger.Error("operation failed", "topic", name, "error", err)
	}
	return p
}
