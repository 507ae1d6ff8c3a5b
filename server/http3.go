package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/duplexhq/duplex/topic"
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

// http3Endpoint serves HTTP/3 on the UDP port with the number of a TCP port.
type http3Endpoint struct {
	packets   net.PacketConn
	transport *quic.Transport
	listener  *quic.Listener
	server    *http3.Server
}

// openHTTP3 opens the UDP port beside an endpoint, which advertises it.
func (s *Server) openHTTP3(e *endpoint) (err error) {
	packets, err := net.ListenPacket("udp", e.Addr().String())
	if err != nil {
		return err
	}
	h := &http3Endpoint{packets: packets, transport: &quic.Transport{Conn: packets}}
	c := &s.config
	h.listener, err = h.transport.Listen(http3.ConfigureTLSConfig(s.certificates.config()), &quic.Config{
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
	})
	if err != nil {
		return errors.Join(err, h.transport.Close(), packets.Close())
	}
	h.server = &http3.Server{
		Handler:        http.HandlerFunc(s.serveHTTP3),
		MaxHeaderBytes: c.MaxHeaderBytes,
		IdleTimeout:    idleTimeout,
		Logger:         c.Logger,
		ConnContext: func(ctx context.Context, conn *quic.Conn) context.Context {
			return s.connections.acceptedQUIC(ctx, conn, e)
		},
	}
	_, port, _ := net.SplitHostPort(packets.LocalAddr().String())
	e.http3, e.altSvc = h, fmt.Sprintf(`h3=":%s"; ma=%d`, port, int(advertisedFor.Seconds()))
	e.versions = append(e.versions, "HTTP/3")
	return nil
}

func (h *http3Endpoint) serve() error { return h.server.ServeListener(h.listener) }

// shutdown sends GOAWAY, and waits for the requests until ctx is done.
func (h *http3Endpoint) shutdown(ctx context.Context) {
	_ = h.server.Shutdown(ctx) // when it is out of time, it closes
}

// close is for when nobody is served any more, or was at all.
func (h *http3Endpoint) close() error {
	return errors.Join(h.listener.Close(), h.transport.Close(), h.packets.Close())
}

func (s *Server) serveHTTP3(w http.ResponseWriter, r *http.Request) {
	answer := &http3Answer{ResponseWriter: w, head: r.Method == http.MethodHead}
	s.serve(answer, r)
	if !answer.begun {
		answer.WriteHeader(http.StatusOK)
	}
}

// An http3Answer is without what quic-go would send and must not.
type http3Answer struct {
	http.ResponseWriter
	head  bool // the request's method
	begun bool
}

// Unwrap is for http.ResponseController.
func (w *http3Answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *http3Answer) WriteHeader(status int) {
	w.begun = w.begun || status >= 200
	delete(w.Header(), "Connection") // RFC 9114 §4.2
	w.ResponseWriter.WriteHeader(status)
	if w.head || status == http.StatusNoContent {
		// The header leaves at once, or the end would add "Content-Length: 0",
		// which neither may have (RFC 9110 §8.6).
		_ = http.NewResponseController(w.ResponseWriter).Flush() // an error means that the client is gone
	}
}

func (w *http3Answer) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
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
