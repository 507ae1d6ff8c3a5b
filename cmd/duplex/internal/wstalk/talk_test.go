package wstalk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/websocket"
)

func TestCommands(t *testing.T) {
	var told error
	bubble(t, func(c *websocket.Conn, r *http.Request) {
		echo(c, r)
		_, _, told = c.Read(context.Background())
	}, func(t *testing.T, s *server) {
		c := s.begin(Options{})
		for _, step := range [][2]string{
			{"hello \x1b[31m", "hello \\x1b[31m\n"},
			{"//etc/hosts", "/etc/hosts\n"},
			{"/binary 01 02 fF41", "(4 bytes)\n00000000  01 02 ff 41                                       |...A|\n"},
			{"/file " + fileOf(t, "a file\nof lines"), "a file\\nof lines\n"},
			{"/file " + fileOf(t, "\xff"), "(1 bytes)\n00000000  ff                                                |.|\n"},
		} {
			c.say(step[0])
			c.out.want(t, step[1])
		}
		c.say("bytes " + strings.Repeat("00", 1030))
		if got := c.out.String(); !strings.HasSuffix(got, "|................|\n... and 6 bytes more\n") {
			t.Errorf("printed %q", got)
		}
		c.notes.want(t, "duplex: connected\n")
		c.say("/ping")
		c.notes.want(t, "duplex: pong after 0s\n")
		c.say("/help")
		c.notes.want(t, "duplex: commands, on lines of their own:\n"+CommandHelp+"// sends a line that begins with /\n")
		c.say("/close 4001 see you")
		c.endWell()
		if told == nil || told.Error() != `websocket: closed by peer (4001 "see you")` {
			t.Errorf("the server was told %v", told)
		}
	})
}

// Verbose shows what no message is.
func TestVerbose(t *testing.T) {
	bubble(t, echo, func(t *testing.T, s *server) {
		c := s.begin(Options{Verbose: true, Dial: websocket.DialOptions{Subprotocols: []string{"chess"}}})
		if got := c.notes.String(); !strings.HasPrefix(got, "duplex: HTTP/1.1 101 Switching Protocols\n") ||
			!strings.Contains(got, "duplex: Sec-Websocket-Protocol: chess\n") || !strings.HasSuffix(got, "duplex: connected, subprotocol chess\n") {
			t.Errorf("notes %q", got)
		}
		for _, step := range [][2]string{
			{"ping", "duplex: ping received\nduplex: pong sent\n"},
			{"/ping are you there?", "duplex: ping sent: \"are you there?\"\nduplex: pong received: \"are you there?\"\n"},
			{"/pong still here", "duplex: pong sent: \"still here\"\n"},
			{"close 1000 bye", "duplex: close received: 1000 \"bye\"\nduplex: close sent: 1000 \"bye\"\nduplex: closed by the server: close 1000 \"bye\"\n"},
		} {
			c.notes.text.Reset()
			c.say(step[0])
			c.notes.want(t, step[1])
		}
		c.endWell()
	})
}

func TestPingWithoutPong(t *testing.T) {
	bubble(t, func(*websocket.Conn, *http.Request) { time.Sleep(time.Hour) }, func(t *testing.T, s *server) {
		c := s.begin(Options{Timeout: time.Second})
		c.say("/ping")
		time.Sleep(time.Second)
		synctest.Wait()
		c.notes.want(t, "duplex: connected\nduplex: /ping: no pong in 1s\n")
	})
}

// What cannot be sent is not left out in silence, unless a person can see it.
func TestWrongLines(t *testing.T) {
	for line, want := range map[string]string{
		"/nothing":                          "no command is called /nothing: /help lists them, and // sends a line that begins with /",
		"/binary 1":                         "want bytes in hex",
		"/pong " + strings.Repeat("x", 126): "/pong: more than 125 bytes",
		"/close x":                          `want a close code, not "x"`,
		"/close 1005 x":                     "close code 1005 may not be sent",
		"/close 1000 " + strings.Repeat("x", 124): "longer than 123 bytes",
		"/file /not/there":                        "no such file",
		"\xff":                                    "not UTF-8",
	} {
		bubble(t, echo, func(t *testing.T, s *server) {
			_, _, err := s.run(line+"\n", Options{})
			wantUsage(t, line, err, want)
		})
		bubble(t, echo, func(t *testing.T, s *server) {
			c := s.begin(Options{Person: true})
			c.say(line, "right")
			c.out.want(t, "< right\n")
			if got := c.notes.String(); !strings.Contains(got, "duplex: ") || !strings.Contains(got, want) {
				t.Errorf("%q: noted %q", line, got)
			}
			c.stop()
			c.endWell()
		})
	}
	bubble(t, echo, func(t *testing.T, s *server) {
		_, _, err := s.run("xyz\n", Options{Binary: true})
		wantUsage(t, "xyz", err, "want bytes in hex")
	})
	bubble(t, echo, func(t *testing.T, s *server) {
		c := s.begin(Options{In: iotest.ErrReader(errors.New("broken"))})
		if err := c.end(); err == nil || err.Error() != "read standard input: broken" {
			t.Errorf("got %v", err)
		}
	})
}

func TestBinaryInput(t *testing.T) {
	bubble(t, echo, func(t *testing.T, s *server) {
		c := s.begin(Options{Binary: true, Send: []string{"text, first"}})
		c.say("00 ff")
		c.out.want(t, "text, first\n(2 bytes)\n00000000  00 ff                                             |..|\n")
		c.stop()
		c.endWell()
	})
}

// How it ended: in order, by the server's word, lost, or by a fault.
func TestEnds(t *testing.T) {
	for line, want := range map[string]struct {
		ok   bool
		text string // of the error, or else of the note
	}{
		"close 1000":         {true, "duplex: closed by the server: close 1000\n"},
		"close 1001 restart": {true, "duplex: closed by the server: close 1001 \"restart\"\n"},
		"close 1005":         {true, "duplex: closed by the server: close 1005\n"},
		"close 4410 gone":    {false, "websocket: closed by peer (4410 \"gone\")"},
		"drop":               {false, "websocket: connection lost: unexpected EOF"},
		"bytes 010203040506": {false, "websocket: closed (1009 "},
	} {
		bubble(t, echo, func(t *testing.T, s *server) {
			_, notes, err := s.run(line+"\n", Options{Wait: time.Hour, Dial: websocket.DialOptions{Options: websocket.Options{ReadLimit: 5}}})
			if want.ok {
				if err != nil || notes != "duplex: connected\n"+want.text {
					t.Errorf("%s: %v, noted %q", line, err, notes)
				}
			} else if err == nil || !strings.HasPrefix(err.Error(), want.text) {
				t.Errorf("%s: %v, want %s", line, err, want.text)
			}
		})
	}
}

// The end of the input closes the connection when nothing has come for a while.
func TestWait(t *testing.T) {
	bubble(t, func(c *websocket.Conn, _ *http.Request) {
		for i := range 3 {
			time.Sleep(2 * time.Second)
			c.Write(context.Background(), websocket.Text, fmt.Append(nil, i))
		}
		c.Read(context.Background())
	}, func(t *testing.T, s *server) {
		began := time.Now()
		out, _, err := s.run("", Options{Wait: 3 * time.Second})
		if took := time.Since(began); err != nil || out != "0\n1\n2\n" || took != 9*time.Second {
			t.Errorf("printed %q after %v: %v", out, took, err)
		}
	})
}

// What has to be said first is said on each connection.
func TestReconnect(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *server) {
		s.handler = func(c *websocket.Conn, r *http.Request) {
			if s.network.Dialled() == 1 {
				s.refuse = []int{http.StatusServiceUnavailable}
			}
			for range 2 {
				_, data, err := c.Read(t.Context())
				if err != nil {
					return
				}
				c.Write(t.Context(), websocket.Text, []byte(r.Header.Get("Token")+" "+string(data)))
			}
			if s.network.Dialled() == 3 {
				echo(c, r)
			}
		}
		c := s.begin(Options{Reconnect: true, Send: []string{"login", "join"}, Dial: websocket.DialOptions{Header: http.Header{"Token": {"t"}}}})
		c.out.want(t, "t login\nt join\n")
		time.Sleep(longestWait)
		c.out.want(t, "t login\nt join\n")
		c.say("hello")
		c.out.want(t, "hello\n")
		c.in.Close() // ends nothing
		synctest.Wait()
		c.stop()
		c.endWell()
		notes := c.notes.String()
		if strings.Count(notes, "duplex: connected\n") != 2 || strings.Count(notes, "; connecting again in ") != 2 ||
			!strings.Contains(notes, "(503 Service Unavailable): status: is not 101; connecting again in ") {
			t.Errorf("notes %q", notes)
		}
	})
}

// A server that says no, or speaks something else, is not asked again. One that
// cannot be reached, or hangs up, is: until the context ends.
func TestReconnectInVain(t *testing.T) {
	hangUp := func(*websocket.Conn, *http.Request) {}
	for name, url := range map[string]string{"away": "ws://nobody.test", "there": "ws://server.test"} {
		bubble(t, hangUp, func(t *testing.T, s *server) {
			s.url = url
			c := s.begin(Options{Reconnect: true})
			time.Sleep(time.Hour)
			synctest.Wait()
			// 0.5, 1, 2, 4, 8, 16 s, and then every 30 s, each time less up to a half.
			if dialled := s.network.Dialled(); dialled < 120 || dialled > 245 {
				t.Errorf("%s: dialled %d times", name, dialled)
			}
			c.stop()
			if err := c.end(); errors.Is(err, context.Canceled) != (name == "away") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	bubble(t, echo, func(t *testing.T, s *server) {
		_, _, err := s.run("bytes 000000\n", Options{Reconnect: true, Dial: websocket.DialOptions{Options: websocket.Options{ReadLimit: 2}}})
		if e, ok := errors.AsType[*websocket.CloseError](err); !ok || e.Remote {
			t.Errorf("too big: %v", err)
		}
	})
	bubble(t, echo, func(t *testing.T, s *server) {
		s.refuse = []int{http.StatusUnauthorized}
		_, _, err := s.run("", Options{Reconnect: true})
		if e, ok := errors.AsType[*websocket.HandshakeError](err); !ok || e.Status != http.StatusUnauthorized {
			t.Errorf("refused: %v", err)
		}
	})
}

// A line that comes when the connection is lost already goes over the next.
func TestLineKept(t *testing.T) {
	bubble(t, echo, func(t *testing.T, s *server) {
		out := new(output)
		c := &talk{Options: new(Options), log: &transcript{out: out, notes: io.Discard}}
		d := &dialler{target: s.url, opts: websocket.DialOptions{NetDial: s.network.Dial, Proxy: http.ProxyURL(nil)}, log: c.log}
		session, err := d.connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		session.end()
		if err := c.say(t.Context(), session, "hello"); !errors.Is(err, net.ErrClosed) || c.unsent == nil || *c.unsent != "hello" {
			t.Fatalf("%v, kept %v", err, c.unsent)
		}
		if session, err = d.connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer session.end()
		ctx, cancel := context.WithCancel(t.Context())
		c.input = new(input)
		over := make(chan error)
		go func() { over <- c.over(ctx, session) }()
		synctest.Wait()
		out.want(t, "hello\n")
		cancel()
		if err := <-over; err != nil || c.unsent != nil {
			t.Errorf("%v, kept %v", err, c.unsent)
		}
	})
}

// There is always a pause, and soon a long one.
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
func TestOutputGone(t *testing.T) {
	bubble(t, echo, func(t *testing.T, s *server) {
		c := s.begin(Options{Reconnect: true, Out: &brokenWriter{lines: 1}})
		c.say("a", "b")
		if err := c.end(); !errors.Is(err, io.ErrClosedPipe) || err.Error() != "print: io: read/write on closed pipe" {
			t.Errorf("got %v", err)
		}
		c.notes.want(t, "duplex: connected\n")
	})
}

// A server that accepts and then says nothing is left after the time for it.
func TestNoConnection(t *testing.T) {
	bubble(t, echo, func(t *testing.T, s *server) {
		s.network.Route = func(int) testnet.Path {
			return func(client, _ net.Conn) { io.Copy(io.Discard, client) }
		}
		began := time.Now()
		_, _, err := s.run("", Options{Dial: websocket.DialOptions{Timeout: time.Minute}})
		if err == nil || !strings.HasPrefix(err.Error(), "no connection in 1m0s: ") || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}
