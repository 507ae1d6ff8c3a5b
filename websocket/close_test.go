package websocket

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// RFC 6455 §7.1.1: "the underlying TCP connection ... SHOULD be closed first by the server".
func TestServerEndsFirstWhenItCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		elapsed := stopwatch()
		var wg sync.WaitGroup
		wg.Go(func() {
			p.want(wire.Close, true, closePayload(t, 1001, "restart"))
			time.Sleep(time.Second)
			p.send(wire.Text, true, "on its way before the close")
			p.send(wire.Close, true, closePayload(t, 1001, ""))
			p.wantEnd()
		})
		if err := c.Close(CloseGoingAway, "restart"); err != nil {
			t.Error(err)
		}
		if elapsed() != time.Second {
			t.Errorf("closed after %v", elapsed())
		}
		wg.Wait()
		_, _, err := c.Read(t.Context())
		wantClosed(t, err, CloseGoingAway, false)
		if err := c.Close(CloseNormal, ""); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
}

func TestServerEndsFirstWhenTheClientCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		var wg sync.WaitGroup
		wg.Go(func() {
			p.send(wire.Close, true, closePayload(t, 3001, "bye"))
			p.want(wire.Close, true, closePayload(t, 3001, "bye"))
			p.wantEnd()
		})
		_, _, err := c.Read(t.Context())
		wantClosed(t, err, 3001, true)
		if closed, _ := errors.AsType[*CloseError](err); closed.Reason != "bye" {
			t.Errorf("reason %q", closed.Reason)
		}
		wg.Wait()
		wantClosed(t, c.Write(t.Context(), Text, nil), 3001, true)
		if err := c.Close(CloseNormal, ""); err != nil {
			t.Errorf("close after the peer's: %v", err)
		}
	})
}

// Who has sent a close frame may read on to the peer's.
func TestCloseWrite(t *testing.T) {
	t.Parallel()
	for _, role := range []wire.Role{wire.Server, wire.Client} {
		synctest.Test(t, func(t *testing.T) {
			c, p := against(t, role, Options{})
			if err := c.CloseWrite(t.Context(), CloseNoStatus, "x"); err == nil {
				t.Error("sent a reason without a code")
			}
			p.does(func() {
				p.want(wire.Close, true, closePayload(t, 4000, "enough"))
				time.Sleep(time.Hour) // nothing bounds it
				p.send(wire.Text, true, "one")
				p.send(wire.Ping, true, "")
				p.send(wire.Text, true, "two")
				p.send(wire.Close, true, closePayload(t, 4000, ""))
				if role == wire.Client {
					p.conn.Close()
				} else {
					p.wantEnd()
				}
			})
			if err := c.CloseWrite(t.Context(), 4000, "enough"); err != nil {
				t.Error(err)
			}
			wantClosed(t, c.Write(t.Context(), Text, nil), 4000, false)
			if err := c.CloseWrite(t.Context(), 4001, ""); err != nil {
				t.Errorf("again: %v", err)
			}
			for _, want := range []string{"one", "two"} {
				if _, data, err := c.Read(t.Context()); err != nil || string(data) != want {
					t.Errorf("read %q, %v; want %q", data, err, want)
				}
			}
			_, _, err := c.Read(t.Context())
			wantClosed(t, err, 4000, false)
			if err := c.Close(CloseNormal, ""); err != nil {
				t.Errorf("close after all: %v", err)
			}
		})
	}
}

func TestClientLeavesTheEndToTheServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Client, Options{})
		elapsed := stopwatch()
		p.does(func() {
			p.want(wire.Close, true, closePayload(t, 1000, ""))
			p.send(wire.Close, true, closePayload(t, 1000, ""))
			time.Sleep(2 * time.Second)
			p.conn.Close()
		})
		if err := c.Close(CloseNormal, ""); err != nil || elapsed() != 2*time.Second {
			t.Errorf("closed after %v: %v", elapsed(), err)
		}
	})
}

func TestClientDoesNotWaitForEverForTheServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Client, Options{CloseTimeout: 3 * time.Second})
		elapsed := stopwatch()
		p.does(func() {
			p.send(wire.Close, true, closePayload(t, 1000, ""))
			p.want(wire.Close, true, closePayload(t, 1000, ""))
			p.wantEnd()
		})
		_, _, err := c.Read(t.Context())
		wantClosed(t, err, CloseNormal, true)
		if elapsed() != 3*time.Second {
			t.Errorf("ended after %v", elapsed())
		}
	})
}

func TestCloseOfASilentPeerHasALimit(t *testing.T) {
	t.Parallel()
	for _, role := range []wire.Role{wire.Server, wire.Client} {
		for name, reads := range map[string]bool{"reads": true, "does not even read": false} {
			synctest.Test(t, func(t *testing.T) {
				c, p := against(t, role, Options{})
				if reads {
					go p.drop()
				}
				elapsed := stopwatch()
				err := c.Close(CloseNormal, "")
				if !errors.Is(err, net.ErrClosed) || elapsed() != defaultCloseTimeout {
					t.Errorf("peer that %s: closed after %v: %v", name, elapsed(), err)
				}
				_, _, err = c.Read(t.Context())
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("peer that %s: %v", name, err)
				}
			})
		}
	}
}

func TestCloseWhileAnotherReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, message, err := c.Read(t.Context())
			if string(message) != "last words" || err != nil {
				t.Errorf("got %q, %v", message, err)
			}
			_, _, err = c.Read(t.Context())
			wantClosed(t, err, CloseNormal, false)
		})
		synctest.Wait()
		wg.Go(func() {
			p.want(wire.Close, true, closePayload(t, 1000, ""))
			p.send(wire.Text, true, "last words")
			p.send(wire.Close, true, "")
			p.wantEnd()
		})
		if err := c.Close(CloseNormal, ""); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

func TestBothClose(t *testing.T) {
	t.Parallel()
	closed := make(chan error, 1)
	url := serve(t, nil, func(c *Conn) { closed <- c.Close(CloseNormal, "server") })
	c := dial(t, url, nil)
	if err := c.Close(CloseNormal, "client"); err != nil {
		t.Errorf("client: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("server: %v", err)
	}
}

func TestCloseRefusesWhatMayNotBeSent(t *testing.T) {
	t.Parallel()
	c, _ := against(t, wire.Server, Options{})
	for _, code := range []CloseCode{0, 999, 1004, 1006, 1015, 1016, 2999, 5000} {
		if err := c.Close(code, ""); err == nil {
			t.Errorf("%d is sent", code)
		}
	}
	if err := c.Close(CloseNormal, strings.Repeat("x", 124)); err == nil {
		t.Error("a reason of 124 bytes is sent")
	}
}

func TestCloseNow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{Keepalive: Keepalive{Interval: time.Hour}})
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, _, err := c.Read(t.Context()); !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
		wg.Go(p.wantEnd)
		synctest.Wait()
		c.CloseNow()
		c.CloseNow()
		wg.Wait()
		for name, err := range map[string]error{
			"Write":       c.Write(t.Context(), Text, nil),
			"WriteFrames": c.WriteFrames(t.Context(), AppendMessage(nil, Text, nil)),
			"Close":       c.Close(CloseNormal, ""),
			"Ping":        second(c.Ping(t.Context())),
			"Writer":      second(c.Writer(t.Context(), Text)),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestEndWithoutACloseFrame(t *testing.T) {
	t.Parallel()
	for _, sent := range []string{"", "\x81", "\x81\x85\x00\x00\x00\x00ab"} {
		synctest.Test(t, func(t *testing.T) {
			c, p := against(t, wire.Server, Options{})
			p.does(func() {
				p.write([]byte(sent))
				p.conn.Close()
			})
			_, _, err := c.Read(t.Context())
			if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, net.ErrClosed) {
				t.Errorf("after %q: %v", sent, err)
			}
			if err := c.Close(CloseNormal, ""); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("after %q: close: %v", sent, err)
			}
		})
	}
}

func TestErrorsSayWhatHappened(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		&CloseError{Code: 1000, Remote: true}:               "websocket: closed by peer (1000)",
		&CloseError{Code: 1009, Reason: "message too big"}:  `websocket: closed (1009 "message too big")`,
		&lostError{io.ErrUnexpectedEOF}:                     "websocket: connection lost: unexpected EOF",
		badRequest("Host", "is missing"):                    "websocket: handshake (400 Bad Request): Host: is missing",
		&HandshakeError{Field: "status", Reason: "is long"}: "websocket: handshake: status: is long",
	} {
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}
