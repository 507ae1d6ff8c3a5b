package view

import (
	"context"
	"errors"
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
		var err error
		if start, err = h.start(r.Context(), rd.patterns, rd.lastEventID, rd.after); err != nil {
			return h.problem(r, err)
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

	s := &session{handler: h, r: r, rd: rd, conn: conn, sink: newHandoff(), greeted: make(chan struct{}), refused: make(chan closing, 1), gone: make(chan struct{})}
	if conn.Subprotocol() == subprotocol {
		var selections []topic.Selection
		for _, p := range rd.patterns {
			selections = append(selections, topic.Selection{Name: p.String(), Patterns: []topic.Pattern{p}, Start: start})
			s.names = append(s.names, p.String())
		}
		s.sub = h.hub.Subscribe(s.sink, topic.Options{Form: formEnvelopes, Signals: true, Named: true}, selections...)
		s.run((&ops{session: s}).take)
		return nil
	}
	conn.SetReadLimit(h.opts.MaxEventBytes)
	o := topic.Options{Form: formMessages, Signals: true, EndAtGap: true, EndWithTopic: rd.oneTopic()}
	if rd.envelope {
		o.Form, o.EndAtGap = formEnvelopes, false
	}
	s.sub = h.hub.Subscribe(s.sink, o, rd.selection(start))
	s.run(s.publish)
	return nil
}

// A session is one WebSocket connection: the handler's goroutine writes what
// the hub gives, another one reads what the client says.
type session struct {
	handler *Handler
	r       *http.Request
	rd      *reading
	conn    *websocket.Conn
	sink    *handoff
	sub     *topic.Subscriber
	names   []string // of the subscriptions of duplex.v1; the reader's
	writing atomic.Bool
	greeted chan struct{} // closed when the first batch was written
	refused chan closing  // what the client has sent is a reason to close
	gone    chan struct{} // closed when the reader has ended
}

// A closing is what to close a connection with. The zero closing means that
// there is nobody to tell.
type closing struct {
	code   websocket.CloseCode
	reason string
}

// run returns when the connection is over and both goroutines have ended.
func (s *session) run(take func(context.Context, websocket.MessageType, []byte) closing) {
	ctx, cancel := context.WithCancel(context.Background()) // the request's is not ours
	var reader sync.WaitGroup
	reader.Go(func() { // Ends when the connection does. Joined below.
		defer close(s.gone)
		s.read(ctx, take)
	})
	end := s.write(ctx)
	s.sub.Close()
	if end.code != 0 {
		_ = s.conn.Close(end.code, end.reason) // the client is gone if it fails
	}
	s.conn.CloseNow()
	cancel()
	reader.Wait()
}

// write gives the connection what comes, and returns with what to close it.
func (s *session) write(ctx context.Context) closing {
	for first := true; ; first = false {
		select {
		case <-s.sink.filled:
		case end := <-s.refused:
			return end
		case <-s.handler.draining:
			return closing{websocket.CloseGoingAway, "shutting-down"}
		case <-s.gone:
			return closing{}
		}
		if len(s.sink.batch.Chunks) > 0 {
			s.writing.Store(true)
			err := s.conn.WriteFrames(ctx, s.sink.batch.Chunks...)
			s.writing.Store(false)
			if err != nil {
				return closing{}
			}
		}
		if first {
			close(s.greeted)
		}
		if end := s.sink.batch.End; end != nil {
			return s.closingFor(end)
		}
		s.sink.release()
		s.sub.Writable()
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
	if errors.Is(end, topic.ErrClosed) {
		return closing{websocket.CloseGoingAway, "shutting-down"}
	}
	return closing{websocket.CloseInternalError, s.problem(end).Type}
}

func (s *session) problem(err error) *Problem { return s.handler.problem(s.r, err) }

// read hands on what the client says, until there is a reason to close. Then
// it goes on, so that the answer to the close arrives. Nothing is read before
// the first signal is sent: the answer to an op would come before it
// (PROTOCOL.md §8.3).
func (s *session) read(ctx context.Context, take func(context.Context, websocket.MessageType, []byte) closing) {
	select {
	case <-s.greeted:
	case <-ctx.Done():
		return
	}
	refused := false
	for {
		kind, data, err := s.conn.Read(ctx)
		if errors.Is(err, websocket.ErrIdle) && s.writing.Load() {
			continue // silent, but still taking a write, which has its own time limit
		}
		if err != nil {
			return
		}
		if refused {
			continue
		}
		if end := take(ctx, kind, data); end.code != 0 {
			s.refused <- end
			refused = true
		}
	}
}

// publish publishes a message to the URL's topic (PROTOCOL.md §8.2). A pattern
// is refused like any name that cannot be published to.
func (s *session) publish(ctx context.Context, kind websocket.MessageType, data []byte) closing {
	draft := topic.Draft{Media: "text/plain", Data: data, Kind: topic.Text}
	if kind == websocket.Binary {
		draft.Media, draft.Kind = "application/octet-stream", topic.Binary
	}
	_, err := s.handler.hub.Publish(ctx, s.rd.patterns[0].String(), []topic.Draft{draft}, topic.Key{})
	if err == nil {
		return closing{}
	}
	problem := s.problem(err)
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
