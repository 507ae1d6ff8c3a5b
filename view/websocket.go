package view

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/websocket"
)

// subprotocol is the one that carries many topics (PROTOCOL.md §8.3).
const subprotocol = "duplex.v1"

// closeGap is the code that tells of a gap where no signal can (PROTOCOL.md §8.8).
const closeGap websocket.CloseCode = 4410

// websocket accepts a connection and serves it until it ends (PROTOCOL.md §8).
func (h *Handler) websocket(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	var start topic.Start
	if len(rd.patterns) > 0 { // fixed before the 101 is sent
		var problem *Problem
		if start, problem = h.start(r.Context(), rd); problem != nil {
			return problem
		}
	}
	opts := &websocket.AcceptOptions{
		Subprotocols: []string{subprotocol},
		AllowOrigins: []string{"*"}, // the origin policy has judged already
		Options:      websocket.Options{ReadLimit: 2 * h.opts.MaxEventBytes, WriteTimeout: h.opts.WriteTimeout},
	}
	handshake, refusal := websocket.CheckHandshake(r, opts)
	switch {
	case refusal != nil:
		return handshakeProblem(refusal)
	case !rd.topicPath && handshake.Subprotocol == "":
		return newProblem("bad-handshake", "this URL needs the subprotocol "+subprotocol)
	case !h.connections.enter():
		return newProblem("shutting-down", "")
	}
	defer h.connections.leave()
	conn, err := websocket.Accept(w, r, opts)
	if err != nil {
		return nil // the client is gone
	}
	conn.SetReadIdle(h.opts.Ping + h.opts.Ping/2)

	s := &session{handler: h, conn: conn, sink: newHandoff(), rd: rd, gone: make(chan struct{})}
	if conn.Subprotocol() == subprotocol {
		var selections []topic.Selection
		for _, p := range rd.patterns {
			selections = append(selections, topic.Selection{Name: p.String(), Patterns: []topic.Pattern{p}, Start: start})
			s.names = append(s.names, p.String())
		}
		s.sub = h.hub.Subscribe(s.sink, topic.Options{Form: formEnvelopes, Signals: true, Named: true}, selections...)
		s.run((&ops{session: s}).read)
		return nil
	}
	conn.SetReadLimit(h.opts.MaxEventBytes)
	o := topic.Options{Form: formMessages, Signals: true, EndAtGap: true, EndWithTopic: rd.oneTopic()}
	if rd.envelope {
		o.Form, o.EndAtGap = formEnvelopes, false
	}
	s.sub = h.hub.Subscribe(s.sink, o, rd.selection(start))
	s.run(s.readRaw)
	return nil
}

// A session is one WebSocket connection: the handler's goroutine writes what
// the hub gives, another one reads what the client says.
type session struct {
	handler *Handler
	conn    *websocket.Conn
	sink    *handoff
	sub     *topic.Subscriber
	rd      *reading
	names   []string // of the first subscriptions
	writing atomic.Bool
	gone    chan struct{} // closed when the reader has ended
}

// run returns when the connection is over and both goroutines have ended.
func (s *session) run(read func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background()) // the request's is not ours
	var reader sync.WaitGroup
	reader.Go(func() { // Ends when the connection does. Joined below.
		defer close(s.gone)
		read(ctx)
	})
	code, reason := s.write(ctx)
	s.sub.Close()
	if code != 0 {
		_ = s.conn.Close(code, reason) // the client is gone if it fails
	}
	s.conn.CloseNow()
	cancel()
	reader.Wait()
}

// write gives the connection what comes, and returns with what to close it. 0
// means that there is nobody to tell.
func (s *session) write(ctx context.Context) (websocket.CloseCode, string) {
	for {
		select {
		case <-s.sink.filled:
			if len(s.sink.batch.Chunks) > 0 {
				s.writing.Store(true)
				err := s.conn.WriteFrames(ctx, s.sink.batch.Chunks...)
				s.writing.Store(false)
				if err != nil {
					return 0, ""
				}
			}
			if end := s.sink.batch.End; end != nil {
				return closeFor(end)
			}
			s.sink.release()
			s.sub.Writable()
		case <-s.handler.draining:
			return websocket.CloseGoingAway, "shutting-down"
		case <-s.gone:
			return 0, ""
		}
	}
}

// closeFor says how a connection ends that the hub has given its last batch.
func closeFor(end error) (websocket.CloseCode, string) {
	if errors.Is(end, topic.ErrEnded) {
		return websocket.CloseNormal, "end"
	}
	if gap, ok := errors.AsType[*topic.GapError](end); ok {
		if gap.Oldest.Seq == 0 {
			return closeGap, ""
		}
		return closeGap, gap.Oldest.String()
	}
	if errors.Is(end, topic.ErrClosed) {
		return websocket.CloseGoingAway, "shutting-down"
	}
	return websocket.CloseInternalError, problemOf(end).Type
}

// read returns the next message. A client that was silent for too long is
// gone, unless it is still taking a write, which has a time limit of its own.
func (s *session) read(ctx context.Context) (websocket.MessageType, []byte, error) {
	for {
		kind, data, err := s.conn.Read(ctx)
		if errors.Is(err, websocket.ErrIdle) && s.writing.Load() {
			continue
		}
		return kind, data, err
	}
}

// readRaw publishes each message to the URL's topic (PROTOCOL.md §8.2).
func (s *session) readRaw(ctx context.Context) {
	for {
		kind, data, err := s.read(ctx)
		if err != nil {
			return
		}
		draft := topic.Draft{Media: "text/plain", Data: data, Kind: topic.Text}
		if kind == websocket.Binary {
			draft.Media, draft.Kind = "application/octet-stream", topic.Binary
		}
		if problem := s.publish(ctx, draft); problem != nil {
			code := websocket.ClosePolicyViolation
			if problem.Status >= http.StatusInternalServerError {
				code = websocket.CloseInternalError
			}
			_ = s.conn.Close(code, problem.Type) // the client is gone if it fails
			return
		}
	}
}

func (s *session) publish(ctx context.Context, draft topic.Draft) *Problem {
	if len(s.rd.patterns) != 1 || !s.rd.patterns[0].Literal() {
		return newProblem("bad-topic", "A pattern cannot be published to.")
	}
	_, err := s.handler.hub.Publish(ctx, s.rd.patterns[0].String(), []topic.Draft{draft}, topic.Key{})
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return problemOf(err)
	}
	return nil
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
