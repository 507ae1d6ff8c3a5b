package websocket

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// Flow control is each stream's own (RFC 9113 §5.2): who does not read holds up nobody else, and its
// writer has a deadline.
func TestSlowReaderOverHTTP2(t *testing.T) {
	t.Parallel()
	ends := make(chan error, 1)
	flood := handling(&AcceptOptions{Options: Options{WriteTimeout: 100 * time.Millisecond}}, func(c *Conn) {
		for {
			if err := c.Write(context.Background(), Binary, make([]byte, 100_000)); err != nil {
				ends <- err
				return
			}
		}
	})
	mux := http.NewServeMux()
	mux.Handle("/flood", flood)
	mux.Handle("CONNECT /echo", echoHandler(nil))
	url, transport := serveH2C(t, mux)
	slow := dial(t, url+"/flood", &DialOptions{HTTP2: transport})
	if _, _, err := slow.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := dial(t, url+"/echo", &DialOptions{HTTP2: transport})
	wantEcho(t, other)
	if err := <-ends; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writer: %v", err)
	}
	wantEcho(t, other)
	for {
		if _, _, err := slow.Read(t.Context()); err != nil {
			if !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			break
		}
	}
}

// Contexts and deadlines hold as over TCP: a read that ends before a message leaves the connection
// usable.
func TestContextsOverHTTP2(t *testing.T) {
	t.Parallel()
	ends := make(chan error, 1)
	url, transport := serveH2C(t, handling(nil, func(c *Conn) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_, _, err := c.Read(ctx)
		ends <- err
		c.SetReadIdle(time.Millisecond)
		_, _, err = c.Read(context.Background())
		ends <- err
		c.SetReadIdle(0)
		echo(c)
	}))
	c := dial(t, url, &DialOptions{HTTP2: transport})
	if err := <-ends; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("server: %v", err)
	}
	if err := <-ends; err != ErrIdle {
		t.Errorf("server: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, _, err := c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("client: %v", err)
	}
	wantEcho(t, c)
	wantEcho(t, c)
}

// A write of the client's ends with its context, although the server does not read.
func TestClientWriteEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		transport, stop := servePipes(&http.Server{Handler: handling(nil, func(c *Conn) { <-gone })})
		defer stop()
		defer close(gone)
		c := dial(t, "ws://example.com", &DialOptions{HTTP2: transport})
		elapsed := stopwatch()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := c.Write(ctx, Binary, make([]byte, 5<<20))
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, net.ErrClosed) || elapsed() != time.Minute {
			t.Errorf("after %v: %v", elapsed(), err)
		}
	})
}

// Time limits of http.Server are for requests, not for what became of them.
func TestServersTimeLimitsOverHTTP2(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport, stop := servePipes(&http.Server{Handler: echoHandler(nil), ReadTimeout: time.Second, WriteTimeout: time.Second})
		defer stop()
		c := dial(t, "ws://example.com", &DialOptions{HTTP2: transport})
		wantEcho(t, c)
		time.Sleep(time.Hour)
		wantEcho(t, c)
		elapsed := stopwatch()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, err := c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) || elapsed() != time.Minute {
			t.Errorf("after %v: %v", elapsed(), err)
		}
		if err := c.Close(CloseNormal, ""); err != nil {
			t.Error(err)
		}
	})
}

// servePipes serves HTTP/2 in a bubble, to the transport that it returns.
func servePipes(server *http.Server) (transport *http.Transport, stop func()) {
	l := make(pipes, 1)
	server.Protocols = protocols((*http.Protocols).SetUnencryptedHTTP2)
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(l) }) // Ends, and is joined, by stop.
	transport = &http.Transport{
		Protocols: protocols((*http.Protocols).SetUnencryptedHTTP2),
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			a, b := net.Pipe()
			l <- b
			return a, nil
		},
	}
	return transport, func() {
		transport.CloseIdleConnections()
		server.Close()
		serving.Wait()
	}
}

// pipes is a listener.
type pipes chan net.Conn

func (l pipes) Accept() (net.Conn, error) {
	if conn, ok := <-l; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l pipes) Close() error { close(l); return nil }
func (pipes) Addr() net.Addr { return textAddr("pipes") }

// otherHTTP is a stream of an HTTP server that is not net/http's, such as one for HTTP/3: a read of
// no bytes waits for nothing.
type otherHTTP struct {
	net.Conn
	header http.Header
	status int
}

func (o *otherHTTP) Header() http.Header    { return o.header }
func (o *otherHTTP) WriteHeader(status int) { o.status = status }
func (o *otherHTTP) Flush()                 {}

func (o *otherHTTP) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return o.Conn.Read(p)
}

// RFC 9220 over whatever has the methods that http.ResponseController looks for.
func TestAcceptFromAnotherHTTP(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		w := &otherHTTP{Conn: a, header: http.Header{}}
		r := httptest.NewRequest("CONNECT", "/chat", w)
		r.Proto, r.ProtoMajor, r.ProtoMinor, r.ContentLength = "websocket", 3, 0, -1
		r.Header = http.Header{"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Protocol": {"chat"}}
		c, err := Accept(w, r, &AcceptOptions{Subprotocols: []string{"chat"}, Options: Options{WriteTimeout: time.Second}})
		if err != nil || w.status != 200 || w.header.Get("Sec-WebSocket-Protocol") != "chat" {
			t.Fatalf("%d %v, %v", w.status, w.header, err)
		}
		p := &peer{t: t, conn: b, r: bufio.NewReader(b), role: wire.Client}
		p.does(func() {
			p.send(wire.Text, true, "hello")
			p.want(wire.Text, true, "hello")
		})
		messageType, message, err := c.Read(t.Context())
		if err != nil || c.Write(t.Context(), messageType, message) != nil {
			t.Errorf("got %q, %v", message, err)
		}
		p.wg.Wait()

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		elapsed := stopwatch()
		if _, _, err := c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) || elapsed() != time.Minute {
			t.Errorf("after %v: %v", elapsed(), err)
		}
		p.does(func() { p.send(wire.Text, true, "late") })
		if _, message, err := c.Read(t.Context()); string(message) != "late" {
			t.Errorf("got %q, %v", message, err)
		}
		p.wg.Wait()

		elapsed = stopwatch()
		if err := c.Write(t.Context(), Binary, make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) || elapsed() != time.Second {
			t.Errorf("after %v: %v", elapsed(), err)
		}
		<-c.Done()
		if _, _, err := c.Read(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
		c.CloseNow()
	})
}

// While nothing at all can be written to an HTTP/2 connection no stream of it can be given up. That
// is for a limit of the connection's own.
func TestStalledConnectionBelow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ends := make(chan error, 1)
		l := make(pipes, 1)
		server := &http.Server{
			Handler: handling(&AcceptOptions{Options: Options{WriteTimeout: time.Second}}, func(c *Conn) {
				for {
					if err := c.Write(context.Background(), Binary, make([]byte, 10_000)); err != nil {
						ends <- err
						return
					}
				}
			}),
			Protocols: protocols((*http.Protocols).SetUnencryptedHTTP2),
			HTTP2:     &http.HTTP2Config{WriteByteTimeout: time.Minute},
			ErrorLog:  slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		}
		var serving sync.WaitGroup
		serving.Go(func() { server.Serve(l) })
		a, b := net.Pipe()
		l <- b
		raw := &rawHTTP2{t, a, bufio.NewReader(a)}
		io.WriteString(a, preface)
		raw.next(settingsFrame)
		raw.write(settingsFrame, 0, 0, "")
		raw.write(headersFrame, endHeaders, 1, headerBlock(connectFields...))
		raw.next(headersFrame)
		elapsed := stopwatch() // and nothing is read from now on
		if err := <-ends; !errors.Is(err, net.ErrClosed) || elapsed() < time.Minute || elapsed() > 2*time.Minute {
			t.Errorf("after %v: %v", elapsed(), err)
		}
		a.Close()
		server.Close()
		serving.Wait()
	})
}
