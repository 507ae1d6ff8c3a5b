package view

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/presence"
	"github.com/duplexhq/duplex/websocket"
)

// subprotocol is the one that carries many topics (PROTOCOL.md §8.3).
const subprotocol = "duplex.v1"

// Close codes of our own (PROTOCOL.md §8.8).
const (
	closeTooSlow websocket.CloseCode = 4408
	closeGap     websocket.CloseCode = 4410 // where no signal can tell of it
)

// newSocketServer gives a server of WebSockets whose messages have so many bytes
// at most.
func (h *Handler) newSocketServer(readLimit int64) *websocket.Server {
	compression := &websocket.Compression{} // an event is compressed once for all
	if h.opts.NoCompression {
		compression = nil
	}
	return websocket.NewServer(sessions{}, &websocket.ServerOptions{
		AcceptOptions: websocket.AcceptOptions{
			Subprotocols: []string{subprotocol},
			AllowOrigins: []string{"*"}, // the origin policy has judged already
			Options: websocket.Options{
				ReadLimit:    readLimit,
				WriteTimeout: h.opts.WriteTimeout,
				Compression:  compression,
			},
		},
		SendBuffer: h.opts.SendBuffer,
	})
}

// websocket accepts a connection (PROTOCOL.md §8). Over HTTP/2 and above it
// returns when that has ended.
func (h *Handler) websocket(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	var start topic.Start
	if len(rd.patterns) > 0 { // fixed before the 101 is sent
		var err error
		if start, err = h.start(r.Context(), rd.patterns, rd.lastEventID, rd.after); err != nil {
			return h.problem(r, err)
		}
	}
	handshake, refusal := websocket.CheckHandshake(r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}, AllowOrigins: []string{"*"}})
	switch {
	case refusal != nil:
		return handshakeProblem(refusal)
	case !rd.topicPath && handshake.Subprotocol == "":
		return newProblem("bad-handshake", "this URL needs the subprotocol "+subprotocol)
	}
	visit, problem := h.visit(rd)
	if problem != nil {
		return problem
	}
	if !h.connections.enter() {
		visit.End()
		return newProblem("shutting-down", "")
	}
	s := &session{handler: h, visit: visit, greeted: make(chan struct{})}
	_, s.lease = h.lease(w, r)
	server := h.raw
	if handshake.Subprotocol != "" {
		server = h.multi
	}
	server.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), opening{}, &opened{s, rd, start})))
	if s.conn == nil {
		s.over() // the client has gone before it was open
	}
	return nil
}

// A session is one WebSocket connection.
type session struct {
	handler *Handler
	lease   Lease
	conn    *websocket.EventConn
	sub     *topic.Subscriber
	visit   *presence.Visit // until it is over
	topic   string          // what messages are published to; without duplex.v1
	multi   *multiple       // duplex.v1; else nil
	refused bool            // what the client has sent was a reason to close; the reader's
	sent    atomic.Int64    // bytes
	greeted chan struct{}   // closed when the first batch was sent; nil then
}

// multiple is what duplex.v1 needs besides. It belongs to who reads.
type multiple struct {
	names  []string // of the subscriptions
	answer []byte   // reused
}

// opening is the key of what a session needs at its beginning only.
type opening struct{}

type opened struct {
	*session
	*reading
	start topic.Start
}

// A closing is what to close a connection with. The zero closing means that
// the connection goes on.
type closing struct {
	code   websocket.CloseCode
	reason string
}

// sessions is the handler of the connections.
type sessions struct{}

// Open returns when the first signal was sent. Until then nothing is read: the
// answer to an op would come before it (PROTOCOL.md §8.3).
func (sessions) Open(c *websocket.EventConn, r *http.Request) {
	o := r.Context().Value(opening{}).(*opened)
	o.session.open(c, o.reading, o.start)
}

func (s *session) open(c *websocket.EventConn, rd *reading, start topic.Start) {
	s.conn = c
	c.SetValue(s)
	s.handler.connections.add(s)
	c.SetReadIdle(s.handler.opts.Ping + s.handler.opts.Ping/2)
	opts := topic.Options{Form: envelopes{c.FrameForm()}, Signals: true, Join: true}
	var selections []topic.Selection
	if c.Subprotocol() == subprotocol {
		opts.Named, s.multi = true, new(multiple)
		for _, p := range rd.patterns {
			selections = append(selections, topic.Selection{Name: p.String(), Patterns: []topic.Pattern{p}, Start: start})
			s.multi.names = append(s.multi.names, p.String())
		}
	} else {
		s.topic = rd.patterns[0].String()
		opts.EndWithTopic = rd.oneTopic()
		if !rd.envelope {
			opts.Form, opts.EndAtGap = messages{c.FrameForm()}, true
		}
		selections = append(selections, rd.selection(start))
	}
	greeted := s.greeted
	s.sub = s.handler.hub.Subscribe(s, opts, selections...)
	<-greeted
}

// Message hands on what the client says, until there is a reason to close.
func (sessions) Message(c *websocket.EventConn, kind websocket.MessageType, data []byte) {
	s := c.Value().(*session)
	if s.refused {
		return
	}
	var end closing
	if s.multi == nil {
		end = s.publish(kind, data)
	} else {
		end = (*ops)(s).take(kind, data)
	}
	if end.code != 0 {
		s.refused = true
		s.close(end)
	}
}

// Drained lets the hub go on.
func (sessions) Drained(c *websocket.EventConn) { c.Value().(*session).sub.Writable() }

// Close is the end.
func (sessions) Close(c *websocket.EventConn, _ error) {
	s := c.Value().(*session)
	s.sub.Close()
	s.over()
}

// over is for a connection that has ended.
func (s *session) over() {
	s.visit.End()
	s.handler.connections.remove(s)
	s.lease.Over(s.sent.Load())
}

// goAway is the hub's business.
func (s *session) goAway() {}

// cut ends the connection at once.
func (s *session) cut() { s.conn.CloseNow() }

// Send is the hub's.
func (s *session) Send(b topic.Batch) bool {
	s.sent.Add(sizeOf(b.Chunks))
	taken, err := s.conn.Offer(b.Chunks...)
	if b.End != nil {
		s.close(s.closingFor(b.End))
	}
	if s.greeted != nil {
		close(s.greeted)
		s.greeted = nil
	}
	return taken || err != nil // of a connection that has ended, nothing is kept
}

// Cut is the hub's.
func (s *session) Cut(end error) { s.close(s.closingFor(end)) }

func (s *session) close(end closing) {
	if s.conn.Close(end.code, end.reason) != nil {
		s.conn.CloseNow() // the reason is none that may be sent
	}
}

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

// publish publishes a message to the URL's topic (PROTOCOL.md §8.2). A pattern
// is refused like any name that cannot be published to.
func (s *session) publish(kind websocket.MessageType, data []byte) closing {
	draft := topic.Draft{Media: "text/plain", Data: slices.Clone(data), Kind: topic.Text}
	if kind == websocket.Binary {
		draft.Media, draft.Kind = "application/octet-stream", topic.Binary
	}
	_, err := s.handler.hub.Publish(context.Background(), s.topic, []topic.Draft{draft}, topic.Key{})
	if err == nil {
		return closing{}
	}
	problem := s.problem(s.topic, err)
	if problem.Status >= http.StatusInternalServerError {
		return closing{websocket.CloseInternalError, problem.Type}
	}
	return closing{websocket.ClosePolicyViolation, problem.Type}
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

// handshakeProblem tells in our own words what is wrong with a handshake.
func handshakeProblem(e *websocket.HandshakeError) *Problem {
	name := "bad-handshake"
	switch e.Status {
	case http.StatusUpgradeRequired:
		name = "upgrade-required"
	case http.StatusMethodNotAllowed:
		name = "method-not-allowed"
	}
	p := newProblem(name, e.Field+": "+e.Reason)
	p.Header = e.Header
	return p
}
