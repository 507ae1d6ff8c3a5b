package view

import (
	"context"
	"net/http"
	"slices"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/websocket"
)

// subprotocol is the one that carries many topics (PROTOCOL.md §8.3).
const subprotocol = "duplex.v1"

// newSocketServer gives a server of WebSockets whose messages have so many bytes
// at most.
func (h *Handler) newSocketServer(sockets websocket.Handler, readLimit int64) *websocket.Server {
	compression := &websocket.Compression{} // an event is compressed once for all
	if h.opts.NoCompression {
		compression = nil
	}
	return websocket.NewServer(sockets, &websocket.ServerOptions{
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
		Panicked:   h.limits.Panicked,
	})
}

// websocket accepts a connection (PROTOCOL.md §8). Over HTTP/2 and above it
// returns when that has ended.
func (h *Handler) websocket(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	start, problem := h.sessionStart(r, rd)
	if problem != nil {
		return problem
	}
	handshake, refusal := websocket.CheckHandshake(r, &websocket.AcceptOptions{Subprotocols: []string{subprotocol}, AllowOrigins: []string{"*"}})
	switch {
	case refusal != nil:
		return handshakeProblem(refusal)
	case !rd.topicPath && handshake.Subprotocol == "":
		return newProblem("bad-handshake", "this URL needs the subprotocol "+subprotocol+"; that of a topic needs none")
	}
	visit, problem := h.enterSession(rd)
	if problem != nil {
		return problem
	}
	server, s := h.raw, anySocket(new(rawSocket))
	if handshake.Subprotocol != "" {
		server, s = h.multi, new(multiSocket)
	}
	base := s.base()
	base.session = newSession(h, r, visit)
	_, base.lease = h.lease(w, r)
	server.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), opening{}, &opened{s, rd, start})))
	if base.conn == nil {
		base.over(base) // the client has gone before it was open
	}
	return nil
}

// An anySocket is a webSocket of one kind.
type anySocket interface {
	base() *webSocket
	// begin gives what the connection subscribes to at its beginning.
	begin(rd *reading, start topic.Start) (topic.SubscribeOptions, []topic.Selection)
}

// A webSocket is one connection.
type webSocket struct {
	session
	conn *websocket.EventConn
}

// A rawSocket has no subprotocol.
type rawSocket struct {
	webSocket
	topic string // what messages are published to
}

// A multiSocket has duplex.v1.
type multiSocket struct {
	webSocket
	ops ops
}

// opening is the key of what one needs at its beginning only.
type opening struct{}

type opened struct {
	anySocket
	*reading
	start topic.Start
}

// webSockets handles the connections, but for their messages.
type webSockets struct{}

type (
	rawSockets   struct{ webSockets }
	multiSockets struct{ webSockets }
)

// Open returns when the first signal was sent. Until then nothing is read: the
// answer to an op would come before it (PROTOCOL.md §8.3).
func (webSockets) Open(c *websocket.EventConn, r *http.Request) {
	o := r.Context().Value(opening{}).(*opened)
	c.SetValue(o.anySocket)
	s := o.base()
	s.conn = c
	s.handler.connections.add(s)
	c.SetReadIdle(s.handler.opts.Ping + s.handler.opts.Ping/2)
	opts, selections := o.begin(o.reading, o.start)
	opts.Signals, opts.Join = true, true
	if opts.EndAtGap {
		opts.Form = messages{c.FrameForm()}
	} else {
		opts.Form = envelopes{c.FrameForm()}
	}
	greeted := s.greeted
	s.sub = s.handler.hub.Subscribe(s, opts, selections...)
	<-greeted
}

func (s *rawSocket) begin(rd *reading, start topic.Start) (topic.SubscribeOptions, []topic.Selection) {
	s.topic = rd.patterns[0].String()
	opts := topic.SubscribeOptions{EndWithTopic: rd.oneTopic(), EndAtGap: !rd.envelope}
	return opts, []topic.Selection{rd.selection(start)}
}

func (s *multiSocket) begin(rd *reading, start topic.Start) (topic.SubscribeOptions, []topic.Selection) {
	s.ops.client = s
	return topic.SubscribeOptions{Named: true}, s.ops.begin(rd, start)
}

// Message publishes what the client says, until there is a reason to close.
func (rawSockets) Message(c *websocket.EventConn, kind websocket.MessageType, data []byte) {
	s := c.Value().(*rawSocket)
	if s.refused {
		return
	}
	if end := s.publish(kind, data); end.code != 0 {
		s.refuse(end)
	}
}

// Message carries out what the client says, until there is a reason to close.
func (multiSockets) Message(c *websocket.EventConn, kind websocket.MessageType, data []byte) {
	s := c.Value().(*multiSocket)
	switch {
	case s.refused:
	case kind == websocket.Text:
		s.ops.take(data)
	default:
		s.refuse(closing{code: websocket.CloseUnsupportedData})
	}
}

// refuse closes because of what the client has said.
func (s *webSocket) refuse(end closing) {
	s.refused = true
	s.close(end)
}

// Drained lets the hub go on.
func (webSockets) Drained(c *websocket.EventConn) { c.Value().(anySocket).base().sub.Writable() }

// Close is the end.
func (webSockets) Close(c *websocket.EventConn, _ error) {
	s := c.Value().(anySocket).base()
	s.sub.Close()
	s.over(s)
}

func (s *webSocket) base() *webSocket { return s }

// cut ends the connection at once.
func (s *webSocket) cut() { s.conn.CloseNow() }

// Send is the hub's.
func (s *webSocket) Send(b topic.Batch) bool {
	s.sent.Add(sizeOf(b.Chunks))
	taken, err := s.conn.Offer(b.Chunks...)
	if b.End != nil {
		s.close(s.closingFor(b.End))
	}
	s.greet()
	return taken || err != nil // of a connection that has ended, nothing is kept
}

// Cut is the hub's.
func (s *webSocket) Cut(end error) { s.close(s.closingFor(end)) }

func (s *webSocket) close(end closing) {
	if s.conn.Close(end.code, end.reason) != nil {
		s.conn.CloseNow() // the reason is none that may be sent
	}
}

// subscribed is for ops, as are unsubscribed, frame and say. Nothing comes as
// datagrams.
func (*webSocket) subscribed(string, topic.Pattern, bool) {}

func (*webSocket) unsubscribed(string) {}

func (*webSocket) frame(dst, message []byte) []byte {
	return websocket.AppendMessage(dst, websocket.Text, message)
}

func (s *webSocket) say(message []byte) {
	if s.conn.Write(websocket.Text, message) == websocket.ErrFull {
		// A few answers more: the client is not heard before it has read.
		_, _ = s.conn.Offer(s.frame(nil, message))
	}
}

// publish publishes a message to the URL's topic (PROTOCOL.md §8.2). A pattern
// is refused like any name that cannot be published to.
func (s *rawSocket) publish(kind websocket.MessageType, data []byte) closing {
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
