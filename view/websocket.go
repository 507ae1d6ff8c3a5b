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
func (h *Handler) newSocketServer(readLimit int64) *websocket.Server {
	compression := &websocket.Compression{} // an event is compressed once for all
	if h.opts.NoCompression {
		compression = nil
	}
	return websocket.NewServer(webSockets{}, &websocket.ServerOptions{
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
	s := &webSocket{session: newSession(h, r, visit)}
	_, s.lease = h.lease(w, r)
	server := h.raw
	if handshake.Subprotocol != "" {
		server = h.multi
	}
	server.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), opening{}, &opened{s, rd, start})))
	if s.conn == nil {
		s.over(s) // the client has gone before it was open
	}
	return nil
}

// A webSocket is one connection.
type webSocket struct {
	session
	conn    *websocket.EventConn
	topic   string // what messages are published to; without duplex.v1
	ops     *ops   // of duplex.v1; else nil
	at      place
	refused bool // what the client has sent was a reason to close; the reader's
}

// opening is the key of what one needs at its beginning only.
type opening struct{}

type opened struct {
	*webSocket
	*reading
	start topic.Start
}

// webSockets is the handler of the connections.
type webSockets struct{}

// Open returns when the first signal was sent. Until then nothing is read: the
// answer to an op would come before it (PROTOCOL.md §8.3).
func (webSockets) Open(c *websocket.EventConn, r *http.Request) {
	o := r.Context().Value(opening{}).(*opened)
	o.webSocket.open(c, o.reading, o.start)
}

func (s *webSocket) open(c *websocket.EventConn, rd *reading, start topic.Start) {
	s.conn = c
	c.SetValue(s)
	s.handler.connections.add(s)
	c.SetReadIdle(s.handler.opts.Ping + s.handler.opts.Ping/2)
	opts := topic.SubscribeOptions{Signals: true, Join: true}
	var selections []topic.Selection
	if c.Subprotocol() == subprotocol {
		opts.Named, s.ops = true, &ops{client: s}
		selections = s.ops.begin(rd, start)
	} else {
		s.topic = rd.patterns[0].String()
		opts.EndWithTopic, opts.EndAtGap = rd.oneTopic(), !rd.envelope
		selections = append(selections, rd.selection(start))
	}
	if opts.EndAtGap {
		opts.Form = messages{c.FrameForm()}
	} else {
		opts.Form = envelopes{c.FrameForm()}
	}
	greeted := s.greeted
	s.sub = s.handler.hub.Subscribe(s, opts, selections...)
	<-greeted
}

// Message hands on what the client says, until there is a reason to close.
func (webSockets) Message(c *websocket.EventConn, kind websocket.MessageType, data []byte) {
	s := c.Value().(*webSocket)
	if s.refused {
		return
	}
	var end closing
	switch {
	case s.ops == nil:
		end = s.publish(kind, data)
	case kind == websocket.Text:
		s.ops.take(data)
	default:
		end.code = websocket.CloseUnsupportedData
	}
	if end.code != 0 {
		s.refused = true
		s.close(end)
	}
}

// Drained lets the hub go on.
func (webSockets) Drained(c *websocket.EventConn) { c.Value().(*webSocket).sub.Writable() }

// Close is the end.
func (webSockets) Close(c *websocket.EventConn, _ error) {
	s := c.Value().(*webSocket)
	s.sub.Close()
	s.over(s)
}

func (s *webSocket) place() *place { return &s.at }

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
func (s *webSocket) publish(kind websocket.MessageType, data []byte) closing {
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
