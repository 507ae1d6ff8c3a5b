package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// vi/websocat#304: what has to be said first is said on each connection.
func TestWSReconnect(t *testing.T) {
	var connections atomic.Int32
	inner := newWSServer(t, func(c *websocket.Conn, r *http.Request) {
		ctx := context.Background()
		for range 2 {
			_, data, err := c.Read(ctx)
			if err != nil {
				return
			}
			c.Write(ctx, websocket.Text, []byte(r.Header.Get("Token")+" "+string(data)))
		}
		if connections.Load() == 3 {
			echo(c, r)
		}
	})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if connections.Add(1) == 2 {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)

	in, write := io.Pipe()
	p := begin(t, in, "ws", s.URL, "--reconnect", "-H", "Token: t", "--send", "login", "--send", "join")
	p.out.wait(t, "t login\nt join\nt login\nt join\n")
	converse(t, p, write, [2]string{"hello", "hello\n"})
	write.Close() // ends nothing
	p.stop()
	p.end(exitDone)
	notes := p.err.String()
	if strings.Count(notes, "duplex: connected\n") != 2 || strings.Count(notes, "; connecting again in ") != 2 ||
		!strings.Contains(notes, "(503 Service Unavailable): status: is not 101; connecting again in ") {
		t.Errorf("notes %q", notes)
	}
}

// A server that says no, or speaks something else, is not asked again.
func TestWSReconnectInVain(t *testing.T) {
	duplex(t, exitUsage, "", "ws", "ftp://x", "--reconnect")
	in, _ := io.Pipe()
	for name, code := range map[string]int{"away": exitInterrupted, "there": exitDone} {
		address := "127.0.0.1:1"
		if name == "there" {
			address = serveWS(t, func(*websocket.Conn, *http.Request) {})
		}
		p := begin(t, in, "ws", address, "--reconnect")
		p.err.wait(t, "; connecting again in ")
		p.stop()
		p.end(code)
	}
	address := serveWS(t, echo)
	p := begin(t, strings.NewReader("bytes 000000\n"), "ws", address, "--reconnect", "--max-message-bytes", "2")
	p.end(exitFailed)
}

// A line that comes when the connection is lost already goes over the next.
func TestWSLineKept(t *testing.T) {
	out := newOutput()
	c := &talk{wsCommand: &wsCommand{}, log: &transcript{out: &console{out: out, err: io.Discard}}}
	target := serveWS(t, echo)
	d := &dialler{target: "ws://" + target, opts: &websocket.DialOptions{}, log: c.log}
	s, err := d.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.end()
	if err := c.say(t.Context(), s, "hello"); err == nil || c.unsent == nil || *c.unsent != "hello" {
		t.Fatalf("%v, kept %v", err, c.unsent)
	}
	if s, err = d.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.end()
	ctx, cancel := context.WithCancel(t.Context())
	c.input = &input{}
	over := make(chan error)
	go func() { over <- c.over(ctx, s) }()
	out.wait(t, "hello\n")
	cancel()
	if err := <-over; err != nil || c.unsent != nil {
		t.Errorf("%v, kept %v", err, c.unsent)
	}
}

// vi/websocat#66: there is always a pause, and soon a long one.
func TestBackoff(t *testing.T) {
	var b backoff
	want := firstWait
	for range 20 {
		if wait := b.next(longestWait); wait < want/2 || wait >= want {
			t.Errorf("waits %v, want up to %v", wait, want)
		}
		want = min(2*want, longestWait)
	}
	if wait := b.next(2 * longestWait); wait >= firstWait {
		t.Errorf("after a connection that held, waits %v", wait)
	}
	if wait := b.next(time.Second); wait < firstWait {
		t.Errorf("then waits %v", wait)
	}
}

// brokenWriter takes so many lines.
type brokenWriter struct{ lines int }

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.lines--; w.lines < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

// Nothing goes on when nobody takes what is printed.
func TestWSOutputGone(t *testing.T) {
	in, write := io.Pipe()
	notes := newOutput()
	code := make(chan int)
	address := serveWS(t, echo)
	go func() {
		code <- run(t.Context(), []string{"ws", address, "--reconnect"}, &console{in: in, out: &brokenWriter{lines: 1}, err: notes})
	}()
	io.WriteString(write, "a\nb\n")
	if got := <-code; got != exitFailed {
		t.Errorf("exit code %d", got)
	}
	if notes.String() != "duplex: connected\nduplex: print: io: read/write on closed pipe\n" {
		t.Errorf("notes %q", notes)
	}
}
