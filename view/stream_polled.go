package view

import (
	"errors"
	"net/http"

	"github.com/duplexhq/duplex/internal/poller"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/presence"
)

// A polledStream is an answer that never ends by itself on a link: what the hub
// gives goes straight into the socket.
type polledStream struct {
	link
	chunked bool // else the end of the connection is that of the answer
	retries bool // it says after which time to come back
	silent  bool // something was not acknowledged when the alarm last rang
}

// followPolled lets the poller send an answer whose header has left. It reports
// false if it cannot; else the visit is the link's.
func (h *Handler) followPolled(w http.ResponseWriter, r *http.Request, f follower, opts topic.SubscribeOptions, selection topic.Selection, visit *presence.Visit) bool {
	s := &polledStream{link: link{visit: visit}, chunked: r.ProtoAtLeast(1, 1), retries: f.retries}
	if s.chunked {
		opts.Form = chunkedForms[f.form]
	}
	return h.take(w, r, &s.link, s, func() {
		s.sub = h.hub.Subscribe(s, opts, selection)
		s.watch()
	})
}

// Send is the hub's.
func (s *polledStream) Send(b topic.Batch) bool {
	taken := s.write(b.Chunks...)
	if b.End != nil {
		s.conn.Do(func() { s.close(b.End) })
	}
	return taken
}

// Cut is the hub's.
func (s *polledStream) Cut(end error) { s.conn.Do(func() { s.close(end) }) }

// close ends the answer.
func (s *polledStream) close(why error) {
	if s.gone {
		return
	}
	var last []byte
	if s.handler.logEnd(why); errors.Is(why, topic.ErrClosed) {
		last = s.handler.retry(follower{retries: s.retries})
	}
	if s.chunked {
		if len(last) > 0 {
			last = appendChunk(nil, last)
		}
		last = append(last, "0\r\n\r\n"...)
	}
	s.write(last)
	s.finish()
}

// Data is the next request. It waits for the end of the stream.
func (s *polledStream) Data(_ *poller.Conn, p []byte) {
	if s.resting {
		s.next(p)
		return
	}
	s.ahead(p)
}

// HalfClosed is the end: the client is gone.
func (s *polledStream) HalfClosed(*poller.Conn) bool { return false }

// watch has the alarm ring so often that a peer that is out of reach is noticed.
func (s *polledStream) watch() {
	if s.handler.opts.Ping > 0 {
		s.conn.SetAlarm(s.handler.patience())
	}
}

// Alarm ends the stream of a peer whose system has acknowledged nothing since
// the last alarm, although it should have.
func (s *polledStream) Alarm(*poller.Conn) {
	if s.resting {
		return
	}
	all, last := s.conn.Acknowledged()
	if !all && s.silent && s.handler.silent(last) {
		s.conn.Abort()
		return
	}
	s.silent = !all
	s.watch()
}
