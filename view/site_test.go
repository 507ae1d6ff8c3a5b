package view

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
	"github.com/duplexhq/duplex/websocket"
	"github.com/duplexhq/duplex/websocket/wire"
)

// A site is a handler behind a real http.Server in a bubble, with a network
// of pipes, which hold no byte: what is written was read.
type site struct {
	*Handler
	t      *testing.T
	dialed chan net.Conn
	closed chan struct{}
	client *http.Client
}

// bubble runs f with a site inside a synctest bubble. Everything must have
// ended when f returns: a goroutine that is left is a deadlock for the bubble.
func bubble(t *testing.T, opts *Options, logOpts *memlog.Options, f func(t *testing.T, s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var o Options
		if opts != nil {
			o = *opts
		}
		log := memlog.Open(logOpts)
		hub := topic.NewHub(log, &topic.HubOptions{Ping: o.Ping, Shards: 2, Readers: 2})
		h, err := New(hub, &o)
		if err != nil {
			t.Fatal(err)
		}
		s := &site{Handler: h, t: t, dialed: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: h}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(s) })
		transport := &http.Transport{DialContext: s.dial, DisableCompression: true}
		s.client = &http.Client{Transport: transport}
		t.Cleanup(func() {
			transport.CloseIdleConnections()
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			serving.Wait()
			time.Sleep(time.Second) // net/http lingers after bodies that it has not read
			hub.Close()
			if err := log.Close(); err != nil {
				t.Error(err)
			}
		})
		f(t, s)
	})
}

func (s *site) Accept() (net.Conn, error) {
	select {
	case conn := <-s.dialed:
		return conn, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *site) Close() error   { close(s.closed); return nil }
func (s *site) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (s *site) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case s.dialed <- there:
		return here, nil
	case <-s.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// publish publishes texts, and returns the last id.
func (s *site) publish(name string, data ...string) (last string) {
	s.t.Helper()
	for _, d := range data {
		last = s.publishAs(name, "", "text/plain", d)
	}
	return last
}

func (s *site) publishAs(name, typ, media, data string) string {
	s.t.Helper()
	draft, err := topic.NewDraft(typ, media, []byte(data))
	if err != nil {
		s.t.Fatal(err)
	}
	id, err := s.hub.Publish(s.t.Context(), name, []topic.Draft{draft}, topic.Key{})
	if err != nil {
		s.t.Fatal(err)
	}
	return id.String()
}

// end ends a topic.
func (s *site) end(name string) string {
	s.t.Helper()
	id, err := s.hub.Publish(s.t.Context(), name, []topic.Draft{topic.EndDraft()}, topic.Key{})
	if err != nil {
		s.t.Fatal(err)
	}
	return id.String()
}

// id is the text of an id of the log.
func (h *Handler) id(seq int) string {
	return topic.ID{Epoch: h.hub.Now().Cursor.Epoch, Seq: uint64(seq)}.String()
}

func (s *site) request(method, path, body string, fields ...string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://duplex.test"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	setFields(r, fields)
	return r
}

// An answer is a response that a goroutine reads.
type answer struct {
	*http.Response
	cancel context.CancelFunc

	mu    sync.Mutex
	body  bytes.Buffer // what take has left; guarded by mu
	err   error        // of the end, nil if in good order; guarded by mu
	ended time.Time    // guarded by mu
	over  chan struct{}

	opened bool // the first block of an event stream was taken; the test's
}

// open asks, and waits for the header of the answer only.
func (s *site) open(method, path, body string, fields ...string) *answer {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	resp, err := s.client.Do(s.request(method, path, body, fields...).WithContext(ctx))
	if err != nil {
		s.t.Fatal(err)
	}
	a := &answer{Response: resp, cancel: cancel, over: make(chan struct{})}
	go a.read()
	return a
}

func (s *site) get(path string, fields ...string) *answer {
	s.t.Helper()
	return s.open("GET", path, "", fields...)
}

func (a *answer) read() {
	defer close(a.over)
	buf := make([]byte, 32<<10)
	for {
		n, err := a.Body.Read(buf)
		a.mu.Lock()
		a.body.Write(buf[:n])
		if err != nil {
			if err != io.EOF {
				a.err = err
			}
			a.ended = time.Now()
			a.mu.Unlock()
			a.Body.Close()
			return
		}
		a.mu.Unlock()
	}
}

// take returns what has come since the last take.
func (a *answer) take() string {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	body := a.body.String()
	a.body.Reset()
	if a.Header.Get("Content-Type") == "text/event-stream" && !a.opened {
		// PROTOCOL.md §5.9: "The first block also has retry:"; each client gets
		// another time, from 2 s to twice of it.
		a.opened = true
		rest := retryLine.ReplaceAllString(body, "")
		if rest == body {
			return "no retry: " + body
		}
		return rest
	}
	return body
}

var retryLine = regexp.MustCompile(`^retry: [23][0-9]{3}\n`)

// all waits for the end.
func (a *answer) all() string {
	<-a.over
	return a.take()
}

// leave closes the connection, as a client that goes away.
func (a *answer) leave() {
	a.cancel()
	<-a.over
}

func (a *answer) isOver() bool {
	synctest.Wait()
	select {
	case <-a.over:
		return true
	default:
		return false
	}
}

// A socket is a WebSocket client that notes what it gets.
type socket struct {
	*websocket.Conn
	mu    sync.Mutex
	lines []string // guarded by mu
	over  chan struct{}
	err   error // once it is over
	ended time.Time
}

// tryConnect opens a WebSocket, with a subprotocol unless that is empty. An
// error means that it was refused.
func (s *site) tryConnect(path, protocol string, fields ...string) (*socket, *http.Response, error) {
	header := http.Header{}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		header.Add(name, value)
	}
	c := &socket{over: make(chan struct{})}
	opts := &websocket.DialOptions{
		Header: header, NetDial: s.dial, Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
		Options: websocket.Options{ReadLimit: -1, CloseTimeout: time.Second, Observe: func(e websocket.FrameEvent) {
			if !e.Sent && e.Opcode == wire.Ping {
				c.note("<ping>")
			}
		}},
	}
	if protocol != "" {
		opts.Subprotocols = []string{protocol}
	}
	conn, resp, err := websocket.Dial(s.t.Context(), "ws://duplex.test"+path, opts)
	if err != nil {
		return nil, resp, err
	}
	c.Conn = conn
	go c.read()
	return c, resp, nil
}

func (s *site) connect(path, protocol string, fields ...string) *socket {
	s.t.Helper()
	c, _, err := s.tryConnect(path, protocol, fields...)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// duplex opens a duplex.v1 connection.
func (s *site) duplex(path string) *socket {
	s.t.Helper()
	return s.connect(path, subprotocol)
}

func (c *socket) note(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, line)
}

func (c *socket) read() {
	defer close(c.over)
	for {
		kind, data, err := c.Read(context.Background())
		if err != nil {
			c.err, c.ended = err, time.Now()
			return
		}
		if kind == websocket.Binary {
			c.note(fmt.Sprintf("binary %x", data))
		} else {
			c.note(string(data))
		}
	}
}

func (c *socket) take() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := c.lines
	c.lines = nil
	return lines
}

func (c *socket) want(t *testing.T, lines ...string) {
	t.Helper()
	if got := c.take(); !slices.Equal(got, lines) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(lines, "\n\t"))
	}
}

// say sends a text message.
func (c *socket) say(t *testing.T, text string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.Text, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// wantClose waits for the close frame of the server.
func (c *socket) wantClose(t *testing.T, code websocket.CloseCode, reason string) {
	t.Helper()
	<-c.over
	e, ok := errors.AsType[*websocket.CloseError](c.err)
	if !ok || !e.Remote || e.Code != code || e.Reason != reason {
		t.Errorf("closed with %v, want %d %q", c.err, code, reason)
	}
}

// leave is a good-bye of the client.
func (c *socket) leave(t *testing.T) {
	t.Helper()
	if err := c.Close(websocket.CloseNormal, ""); err != nil {
		t.Error(err)
	}
	<-c.over
}

// A wireConn is a connection of which the test sees each byte.
type wireConn struct {
	net.Conn
	*bufio.Reader
}

// wire opens a connection and sends a request as it is.
func (s *site) wire(request string) wireConn {
	s.t.Helper()
	conn, err := s.dial(s.t.Context(), "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	c := wireConn{conn, bufio.NewReaderSize(conn, 16)}
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n")); err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (c wireConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// header reads up to the empty line.
func (c wireConn) header(t *testing.T) string {
	t.Helper()
	var header strings.Builder
	for {
		line, err := c.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, header.String())
		}
		if line == "\r\n" {
			return header.String()
		}
		header.WriteString(line)
	}
}

// sleepUntilJustBefore lets the time come that is d after start, but for 1 ns.
func sleepUntilJustBefore(start time.Time, d time.Duration) {
	time.Sleep(time.Until(start.Add(d)) - 1)
	synctest.Wait()
}
