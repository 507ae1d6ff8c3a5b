package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// talker is what Conn and EventConn have in common.
type talker interface {
	Write(messageType MessageType, message []byte) error
	Close(code CloseCode, reason string) error
	CloseNow()
	Ping(ctx context.Context) (time.Duration, error)
	Latency() time.Duration
	Subprotocol() string
	RemoteAddr() net.Addr
}

// hooks says what a server does, whichever way it runs its connections.
type hooks struct {
	open    func(c talker)
	message func(c talker, messageType MessageType, message []byte) // nil echoes
	drained func(c *EventConn)                                      // or nil
	closed  chan error                                              // told of every end
	release *latch                                                  // what handlers wait for
}

func newHooks() *hooks { return &hooks{closed: make(chan error, 1000), release: newLatch()} }

// blocking has handlers wait on "block" until they are released, and echo.
func blocking(h *hooks) {
	h.message = func(c talker, messageType MessageType, message []byte) {
		if string(message) == "block" {
			<-h.release.c
		}
		c.Write(messageType, message)
	}
}

func (h *hooks) Open(c *EventConn, _ *http.Request) { h.opened(c) }

func (h *hooks) opened(c talker) {
	if h.open != nil {
		h.open(c)
	}
}

func (h *hooks) Message(c *EventConn, messageType MessageType, message []byte) {
	h.got(c, messageType, message)
}

func (h *hooks) got(c talker, messageType MessageType, message []byte) {
	if h.message != nil {
		h.message(c, messageType, message)
	} else if err := c.Write(messageType, message); err != nil {
		c.CloseNow()
	}
}

func (h *hooks) Drained(c *EventConn) {
	if h.drained != nil {
		h.drained(c)
	}
}

func (h *hooks) Close(_ *EventConn, err error) { h.closed <- err }

// wantEnd waits for the end of a connection.
func (h *hooks) wantEnd(t *testing.T) error {
	t.Helper()
	select {
	case err := <-h.closed:
		return err
	case <-time.After(time.Minute):
		t.Fatal("no end")
		return nil
	}
}

// readConn is a Conn that a goroutine reads.
type readConn struct{ *Conn }

func (c readConn) Write(messageType MessageType, message []byte) error {
	return c.Conn.Write(context.Background(), messageType, message)
}

// Close does not wait, as a handler would be waited for.
func (c readConn) Close(code CloseCode, reason string) error {
	go c.Conn.Close(code, reason)
	return nil
}

func (h *hooks) read(w http.ResponseWriter, r *http.Request, opts *AcceptOptions) {
	c, err := Accept(w, r, opts)
	if err != nil {
		return
	}
	defer c.CloseNow()
	h.opened(readConn{c})
	for {
		messageType, message, err := c.Read(context.Background())
		if err != nil {
			h.closed <- err
			return
		}
		h.got(readConn{c}, messageType, message)
	}
}

// A way to run connections.
type way struct {
	name    string
	handler func(h *hooks, opts ServerOptions) http.Handler
	tls     bool
	blocks  bool // handlers may block
	events  bool
}

var ways = []way{
	{"read by a goroutine", func(h *hooks, opts ServerOptions) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.read(w, r, &opts.AcceptOptions) })
	}, false, true, false},
	{"polled", func(h *hooks, opts ServerOptions) http.Handler { return NewServer(h, &opts) }, false, true, true},
	{"polled, inline", func(h *hooks, opts ServerOptions) http.Handler {
		opts.Inline = true
		return NewServer(h, &opts)
	}, false, false, true},
	{"events over TLS", func(h *hooks, opts ServerOptions) http.Handler { return NewServer(h, &opts) }, true, true, true},
}

// site is a server that runs its connections one way.
type site struct {
	t      *testing.T
	server *httptest.Server
	hooks  *hooks
	way    way
}

// eachWay runs a test against every way.
func eachWay(t *testing.T, opts ServerOptions, prepare func(h *hooks), test func(t *testing.T, s *site)) {
	t.Parallel()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			test(t, newSite(t, w, opts, prepare))
		})
	}
}

func newSite(t *testing.T, w way, opts ServerOptions, prepare func(h *hooks)) *site {
	t.Helper()
	if opts.Group == nil {
		opts.Group = new(Group)
	}
	h := newHooks()
	if prepare != nil {
		prepare(h)
	}
	server := httptest.NewUnstartedServer(w.handler(h, opts))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if w.tls {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		h.release.open()
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // at once
		opts.Group.Shutdown(ctx)
	})
	return &site{t, server, h, w}
}

// dial gives a peer whose handshake is complete.
func (s *site) dial() *peer {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(5 * time.Minute)) // so that a fault fails instead of hanging
	if s.way.tls {
		conn = tls.Client(conn, s.tlsConfig())
	}
	p := &peer{t: s.t, conn: conn, r: bufio.NewReader(conn), role: wire.Client}
	s.t.Cleanup(p.wg.Wait)
	p.write([]byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	response, err := http.ReadResponse(p.r, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		s.t.Fatalf("handshake: %+v, %v", response, err)
	}
	return p
}

func (s *site) tlsConfig() *tls.Config {
	if !s.way.tls {
		return nil
	}
	config := s.server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName = "example.com" // which the test's certificate is for
	return config
}

// wantClosedEnd checks the error that the server was told.
func (s *site) wantClosedEnd(code CloseCode, remote bool) {
	s.t.Helper()
	wantClosed(s.t, s.hooks.wantEnd(s.t), code, remote)
}

// wantLost checks that the server was told of an end without a close frame.
func (s *site) wantLost(cause error) {
	s.t.Helper()
	err := s.hooks.wantEnd(s.t)
	if _, closed := errors.AsType[*CloseError](err); closed || !errors.Is(err, net.ErrClosed) || cause != nil && !errors.Is(err, cause) {
		s.t.Errorf("ended with %v, want a loss by %v", err, cause)
	}
}

// eventually waits for something that no channel tells of.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); runtime.Gosched() {
		if time.Since(began) > time.Minute {
			t.Fatalf("never: %s", what)
		}
	}
}

// latch is opened once.
type latch struct {
	once sync.Once
	c    chan struct{}
}

func newLatch() *latch { return &latch{c: make(chan struct{})} }
func (l *latch) open() { l.once.Do(func() { close(l.c) }) }
func (p *peer) wantGone() {
	p.t.Helper()
	if _, err := io.Copy(io.Discard, p.r); err != nil && errors.Is(err, context.DeadlineExceeded) {
		p.t.Errorf("the connection goes on: %v", err)
	}
}
