package server

import (
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/duplexhq/duplex/view"
)

// A lease is what the server keeps of a connection that a subscriber has taken
// from net/http: what the log is to say at its end, and little else.
type lease struct {
	server   *Server
	line     requestLine
	endpoint *endpoint
}

// lease is the view's Take.
func (s *Server) lease(w http.ResponseWriter, r *http.Request) (net.Conn, view.Lease) {
	conn := connectionOf(r.Context())
	answer := w.(*recorder) // of serve
	answer.leased = true
	line := newRequestLine(r, answer).kept()
	switch {
	case answer.streams():
		line.stays = true
	case strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		line.stays, line.status = true, http.StatusSwitchingProtocols
	default:
		line.status = http.StatusOK // of a poll, later
	}
	return conn.conn, &lease{s, line, conn.endpoint}
}

// Over notes the end.
func (l *lease) Over(sent int64) {
	l.server.connections.forget()
	l.server.logRequest(&l.line, sent)
}

// Return has net/http serve the connection again.
func (l *lease) Return(conn net.Conn, sent int64) {
	l.server.logRequest(&l.line, sent)
	l.server.connections.giveBack(conn, l.endpoint, l.line.remote)
	if !l.server.returns.put(conn) {
		l.server.dismiss(conn)
	}
}

// leaseStream is the view's TakeStream.
func (s *Server) leaseStream(w http.ResponseWriter, r *http.Request) view.Lease {
	answer := w.(*recorder) // of serve
	answer.taken = true
	line := newRequestLine(r, answer).kept()
	line.stays = true
	return &streamLease{s, line}
}

// A streamLease is what the server keeps of a stream of HTTP/2 whose handler has
// left.
type streamLease struct {
	server *Server
	line   requestLine
}

// Over notes the end.
func (l *streamLease) Over(sent int64) { l.server.logRequest(&l.line, sent) }

// Return is for connections.
func (*streamLease) Return(net.Conn, int64) {}

// dismiss ends a connection that came back when the server had stopped.
func (s *Server) dismiss(conn net.Conn) {
	s.connections.comesBack(conn)
	s.connections.forget()
	conn.Close()
}

// returns is the listener of the connections that come back to net/http.
type returns struct {
	ready chan struct{} // capacity 1: there may be some

	mu     sync.Mutex
	conns  []net.Conn // guarded by mu
	closed bool       // guarded by mu
}

func newReturns() *returns { return &returns{ready: make(chan struct{}, 1)} }

// put never blocks. It reports false if the listener is closed.
func (l *returns) put(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.conns = append(l.conns, conn)
	l.wake()
	return true
}

func (l *returns) wake() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// Accept gives one after the other, as they came, also what came before Close.
func (l *returns) Accept() (net.Conn, error) {
	for range l.ready {
		l.mu.Lock()
		if len(l.conns) > 0 {
			conn := l.conns[0]
			l.conns[0] = nil
			l.conns = l.conns[1:]
			l.wake()
			l.mu.Unlock()
			return &watchedConn{Conn: conn}, nil
		}
		closed := l.closed
		l.mu.Unlock()
		if closed {
			l.wake() // for whoever asks again
			break
		}
	}
	return nil, net.ErrClosed
}

// Close lets no more in.
func (l *returns) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wake()
	return nil
}

// Addr is nobody's: the connections have theirs.
func (l *returns) Addr() net.Addr { return &net.TCPAddr{} }
