package h2

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/duplexhq/duplex/internal/h2/wire"
)

// A Server has the HTTP/2 connections of one or more http.Servers.
type Server struct {
	options Options
	config  *wire.Config
	goOn    func(context.Context) (over func())

	mu       sync.Mutex
	conns    map[*conn]struct{} // guarded by mu
	draining bool               // guarded by mu
	gone     chan struct{}      // closed when draining and there are none
}

// New gives a server. options may be nil.
func New(options *Options) *Server {
	s := &Server{options: options.withDefaults(), conns: make(map[*conn]struct{}), gone: make(chan struct{})}
	s.config = s.options.wire()
	return s
}

// Configure has hs leave HTTP/2 to s: over TLS what ALPN says, and what begins
// with HTTP/2 on plain connections, where hs.Protocols allows it. It must be
// called before hs serves.
//
// goOn, which may be nil, is called with the context of a connection (see
// http.Server.ConnContext) that could go on without net/http: for that, it has
// ended when over has not been called yet. If over is nil, net/http keeps it,
// and a goroutine.
func (s *Server) Configure(hs *http.Server, goOn func(context.Context) (over func())) {
	s.goOn = goOn
	if hs.TLSNextProto == nil {
		hs.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler))
	}
	hs.TLSNextProto["h2"] = func(_ *http.Server, conn *tls.Conn, h http.Handler) {
		s.serve(conn, h, false)
	}
	// net/http hides the connection in one of TLS, and has read the preface.
	hs.TLSNextProto["unencrypted_http2"] = func(_ *http.Server, hidden *tls.Conn, h http.Handler) {
		if plain, ok := hidden.NetConn().(interface{ UnencryptedNetConn() net.Conn }); ok {
			nc := plain.UnencryptedNetConn()
			if layer, ok := nc.(interface{ NetConn() net.Conn }); ok { // which was for net/http
				nc = layer.NetConn()
			}
			s.serve(nc, h, true)
		}
	}
}

// serve serves a connection until it has ended, or begins to if it goes on
// without net/http.
func (s *Server) serve(nc net.Conn, h http.Handler, prefaced bool) {
	ctx := context.Background()
	if based, ok := h.(interface{ BaseContext() context.Context }); ok { // those of net/http are
		ctx = based.BaseContext()
	}
	c := &conn{server: s, handler: h, began: time.Now(), remote: nc.RemoteAddr().String(), ended: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.m = wire.New(s.config, c, prefaced)
	if !s.add(c) {
		c.cancel()
		return // the server has stopped
	}
	if secure, ok := nc.(*tls.Conn); ok {
		state := secure.ConnectionState()
		c.tls = &state
	} else if s.goOn != nil && s.poll(c, nc) {
		return
	}
	c.follow(nc)
}

// add enters a connection.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.gone:
		return false
	default:
	}
	s.conns[c] = struct{}{}
	c.draining = s.draining
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.checkGone()
}

// checkGone is called with mu held.
func (s *Server) checkGone() {
	if s.draining && len(s.conns) == 0 {
		select {
		case <-s.gone:
		default:
			close(s.gone)
		}
	}
}

// all gives the connections of this moment.
func (s *Server) all() (conns []*conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// Shutdown ends connections in good order, each when its requests are
// answered, and returns when all have ended. When ctx is done first, it cuts
// the rest, and returns the context's cause.
//
// It is best called when there is little left to answer: python3-h2, and what
// stands on it, takes no DATA after GOAWAY.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	s.checkGone()
	s.mu.Unlock()
	for _, c := range s.all() {
		c.depart()
	}
	select {
	case <-s.gone:
		return nil
	case <-ctx.Done():
	}
	s.Close()
	return context.Cause(ctx)
}

// Close cuts all connections.
func (s *Server) Close() {
	s.mu.Lock()
	s.draining = true
	s.checkGone()
	s.mu.Unlock()
	for _, c := range s.all() {
		c.abort()
	}
}
