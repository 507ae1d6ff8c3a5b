package view

import (
	"io"
	"net/http"
	"sync/atomic"

	"github.com/duplexhq/duplex/internal/poller"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/presence"
)

// A link is a plain TCP connection that was taken from net/http. The poller
// drives it: while nothing happens, it has neither a goroutine nor a buffer.
// What its answer is, is the business of the handler that embeds it. Its
// methods belong to the connection's loop, but for write.
type link struct {
	handler *Handler
	lease   Lease
	conn    *poller.Conn
	sub     *topic.Subscriber // nil before it subscribes and after it has left
	visit   *presence.Visit   // until the answer is complete or the connection has ended
	sent    atomic.Int64
	at      place

	reusable bool // for another request
	resting  bool // the answer is complete
	gone     bool // the connection has ended or was given back
}

// take takes the connection of a request from net/http, and calls begin on its
// loop before anything else. It reports false if the connection has to stay
// where it is. The header of an answer whose body has no length may have been
// sent.
func (h *Handler) take(w http.ResponseWriter, r *http.Request, l *link, events poller.Handler, begin func()) bool {
	conn, lease := h.lease(w, r)
	spare, err := poller.Prepare(conn)
	if err != nil {
		return false
	}
	if !h.connections.enter() {
		spare.Release()
		return false
	}
	_, stream, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.connections.leave()
		spare.Release()
		return false
	}
	// The rest of net/http's buffers is left behind.
	buffered := make([]byte, stream.Reader.Buffered())
	_, _ = io.ReadFull(stream.Reader, buffered) // it holds as many
	l.handler, l.lease = h, lease
	// After a body, whoever asked may send more of it than was read.
	l.reusable = r.ProtoAtLeast(1, 1) && r.ContentLength == 0 && !r.Close && w.Header().Get("Connection") == ""
	if l.conn, err = spare.Adopt(events, &h.limits, buffered); err != nil { // it is closed
		l.visit.End()
		h.connections.leave()
		lease.Over(0)
		return true
	}
	h.connections.add(l)
	l.conn.Do(begin)
	_ = l.conn.Start() // if it has ended already, Closed says so
	return true
}

// early is what a client may send before it has its answer. Who sends more
// cannot have the connection for another request.
const early = 4 << 10

// ahead takes what arrives before the answer is complete.
func (l *link) ahead(p []byte) {
	if !l.reusable || len(p) > early {
		l.reusable = false // and what comes is dropped
		return
	}
	l.conn.Pause(p)
}

// goAway ends the connection if it waits for its next request. What is being
// answered, the hub ends.
func (l *link) goAway() {
	l.conn.Do(func() {
		if l.resting {
			l.rest()
		}
	})
}

func (l *link) place() *place { return &l.at }

// cut ends the connection at once.
func (l *link) cut() { l.conn.Abort() }

// write sends chunks, and reports whether the network has taken all that was
// written. Else Drained follows. It may be called by any goroutine.
func (l *link) write(chunks ...[]byte) (taken bool) {
	l.sent.Add(sizeOf(chunks))
	pending, err := l.conn.Write(chunks...)
	return pending == 0 && err == nil
}

func sizeOf(chunks [][]byte) (size int64) {
	for _, c := range chunks {
		size += int64(len(c))
	}
	return size
}

// finish is for when the last byte of the answer was written.
func (l *link) finish() {
	l.leave()
	l.visit.End()
	l.resting = true
	l.rest()
}

// rest waits for the next request, once the answer has left.
func (l *link) rest() {
	if l.gone {
		return
	}
	if pending, err := l.conn.Write(); pending > 0 && err == nil { // of nothing
		return // Drained comes back
	}
	if !l.reusable || l.handler.draining.Load() {
		l.conn.Close()
		return
	}
	l.conn.SetIdle(l.handler.opts.IdleTimeout)
	l.conn.Resume() // if it was paused: the next request is here
}

// next gives the connection back to net/http with the first bytes of the next
// request.
func (l *link) next(p []byte) {
	if pending, err := l.conn.Write(); pending > 0 && err == nil { // of nothing
		l.conn.Pause(p) // until the answer has left
		return
	}
	conn, err := l.conn.Detach(p)
	if err != nil {
		l.conn.Abort() // the process has no descriptor left, or the peer is gone
		return
	}
	l.end()
	l.lease.Return(conn, l.sent.Load())
}

func (l *link) leave() {
	if l.sub != nil {
		l.sub.Leave()
		l.sub = nil
	}
}

// end is for a connection that is no longer the handler's.
func (l *link) end() {
	l.gone = true
	l.leave()
	l.visit.End()
	l.handler.connections.remove(l)
}

// Drained goes on.
func (l *link) Drained(*poller.Conn) {
	switch {
	case l.resting:
		l.rest()
	case l.sub != nil:
		l.sub.Writable()
	}
}

// Closed is the end.
func (l *link) Closed(*poller.Conn, error) {
	l.end()
	l.lease.Over(l.sent.Load())
}
