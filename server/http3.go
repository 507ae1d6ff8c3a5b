package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/view"
	"github.com/duplexhq/duplex/view/webtransport"
)

const (
	// advertisedFor is how long a browser may remember that there is HTTP/3:
	// not long, as it can be switched off again.
	advertisedFor = time.Hour

	// controlStreams are those that a client opens beside its requests: RFC 9114
	// §6.2 wants three to be allowed, and some that nobody knows.
	controlStreams = 10

	// silentFor is how long a peer may be silent over QUIC. It answers pings,
	// which are sent at half of it, if not earlier.
	silentFor = time.Minute
)

// http3Endpoint serves HTTP/3, and WebTransport over it, on the UDP port with the
// number of a TCP port.
type http3Endpoint struct {
	packets   net.PacketConn
	transport *quic.Transport
	listener  *quic.Listener
	server    *webtransport.Server
	accepting context.Context
	stop      context.CancelFunc // of accepting

	serving sync.WaitGroup
	mu      sync.Mutex
	conns   map[*quic.Conn]struct{} // guarded by mu
}

// openHTTP3 opens the UDP port beside an endpoint, which advertises it.
func (s *Server) openHTTP3(e *endpoint) (err error) {
	packets, err := s.listenPacket("udp", e.Addr().String())
	if err != nil {
		return err
	}
	h := &http3Endpoint{packets: packets, transport: &quic.Transport{Conn: packets}, conns: make(map[*quic.Conn]struct{})}
	h.accepting, h.stop = context.WithCancel(context.Background())
	c := &s.config
	config := &quic.Config{
		MaxIncomingStreams:             int64(c.MaxStreams),
		MaxIncomingUniStreams:          controlStreams,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: connectionWindow,
		MaxConnectionReceiveWindow:     connectionWindow,
		MaxIdleTimeout:                 silentFor,
		KeepAlivePeriod:                cmp.Or(c.Ping, topic.DefaultPing),
		// Requests before the end of the handshake can be replayed by whoever
		// has seen them: Allow0RTT stays off.
	}
	webtransport.Configure(config)
	h.listener, err = h.transport.Listen(http3.ConfigureTLSConfig(s.certificates.config()), config)
	if err != nil {
		return errors.Join(err, h.transport.Close(), packets.Close())
	}
	h.server = webtransport.NewServer(&http3.Server{
		Handler:        http.HandlerFunc(s.serveHTTP3),
		MaxHeaderBytes: c.MaxHeaderBytes,
		IdleTimeout:    idleTimeout,
		Logger:         c.Logger,
		ConnContext: func(ctx context.Context, conn *quic.Conn) context.Context {
			return s.connections.acceptedQUIC(ctx, conn, e)
		},
	})
	_, port, _ := net.SplitHostPort(packets.LocalAddr().String())
	e.http3, e.altSvc = h, fmt.Sprintf(`h3=":%s"; ma=%d`, port, int(advertisedFor.Seconds()))
	e.versions = append(e.versions, "HTTP/3")
	return nil
}

// serve accepts connections until shutdown.
func (h *http3Endpoint) serve() error {
	for {
		conn, err := h.listener.Accept(h.accepting)
		if h.accepting.Err() != nil {
			return http.ErrServerClosed
		}
		if err != nil {
			return err
		}
		h.mu.Lock()
		h.conns[conn] = struct{}{}
		h.mu.Unlock()
		// Ends with the connection. Joined by shutdown.
		h.serving.Go(func() {
			_ = h.server.Serve(conn) // how a connection ends is the client's business
			h.mu.Lock()
			defer h.mu.Unlock()
			delete(h.conns, conn)
		})
	}
}

// shutdown lets no more connections in, gives those that there are until ctx is
// done, and closes them. Their requests were answered, and the client has had
// the answers by then.
func (h *http3Endpoint) shutdown(ctx context.Context) {
	h.stop()
	ended := make(chan struct{})
	go func() { // Ends when the last connection has. Joined below.
		h.serving.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	h.mu.Lock()
	for conn := range h.conns {
		_ = quicConn{conn}.Close() // it may have ended
	}
	h.mu.Unlock()
	<-ended
}

// close is for when nobody is served any more, or was at all.
func (h *http3Endpoint) close() error {
	h.stop()
	return errors.Join(h.listener.Close(), h.transport.Close(), h.packets.Close())
}

func (s *Server) serveHTTP3(w http.ResponseWriter, r *http.Request) {
	answer := &http3Answer{ResponseWriter: w, head: r.Method == http.MethodHead}
	s.serve(answer, r)
	if answer.cut {
		panic(http.ErrAbortHandler) // resets the stream: its end would be that of a whole answer
	}
	if !answer.begun {
		answer.WriteHeader(http.StatusOK)
	}
}

// webTransport is the view's WebTransport.
func (s *Server) webTransport(w http.ResponseWriter, r *http.Request) (view.WebTransport, error) {
	session, err := connectionOf(r.Context()).endpoint.http3.server.Accept(w, r)
	if err != nil {
		return nil, err
	}
	return &countedSession{session, w.(*recorder)}, nil // of serve
}

// A countedSession adds what is written to its stream to the bytes of the answer.
type countedSession struct {
	view.WebTransport
	answer *recorder
}

func (s *countedSession) Stream(ctx context.Context) (view.WebTransportStream, error) {
	stream, err := s.WebTransport.Stream(ctx)
	if err != nil {
		return nil, err
	}
	return &countedStream{stream, s.answer}, nil
}

type countedStream struct {
	view.WebTransportStream
	answer *recorder
}

func (s *countedStream) Write(p []byte) (int, error) {
	n, err := s.WebTransportStream.Write(p)
	s.answer.bytes += int64(n)
	return n, err
}

// An http3Answer is without what quic-go would send and must not.
type http3Answer struct {
	http.ResponseWriter
	head  bool // the request's method
	begun bool
	cut   bool // a write has failed
}

// Unwrap is for http.ResponseController.
func (w *http3Answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *http3Answer) WriteHeader(status int) {
	w.begun = w.begun || status >= 200
	delete(w.Header(), "Connection") // RFC 9114 §4.2
	w.ResponseWriter.WriteHeader(status)
	if w.head || status == http.StatusNoContent || status == http.StatusNotModified {
		// The header leaves at once, or the end would add "Content-Length: 0",
		// which none of them may have (RFC 9110 §8.6).
		_ = http.NewResponseController(w.ResponseWriter).Flush() // an error means that the client is gone
	}
}

func (w *http3Answer) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.cut = w.cut || err != nil && !errors.Is(err, http.ErrBodyNotAllowed)
	return n, err
}

// quicConn is a connection that can be closed like others.
type quicConn struct{ *quic.Conn }

func (c quicConn) Close() error {
	return c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}

// acceptedQUIC is the http3.Server's ConnContext.
func (c *connections) acceptedQUIC(ctx context.Context, conn *quic.Conn, e *endpoint) context.Context {
	counted := quicConn{conn}
	state := &connection{endpoint: e, refused: !c.enter(counted)}
	context.AfterFunc(conn.Context(), func() { c.leave(counted) })
	return context.WithValue(ctx, connectionKey{}, state)
}
