package websocket

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

func TestPing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Client, Options{})
		go c.Read(t.Context())
		p.does(func() {
			_, payload, _ := p.next()
			p.send(wire.Pong, true, "unsolicited") // §5.5.3: "a response ... is not expected"
			p.send(wire.Pong, true, "12345678")
			time.Sleep(70 * time.Millisecond)
			p.send(wire.Pong, true, payload)
		})
		latency, err := c.Ping(t.Context())
		if err != nil || latency != 70*time.Millisecond || c.Latency() != latency {
			t.Errorf("got %v, %v, %v", latency, c.Latency(), err)
		}
	})
}

func TestPingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		go c.Read(t.Context())
		go p.drop()
		elapsed := stopwatch()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		if _, err := c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) || elapsed() != 4*time.Second {
			t.Errorf("after %v: %v", elapsed(), err)
		}
		if err := c.Write(t.Context(), Text, []byte("still usable")); err != nil {
			t.Error(err)
		}
	})
}

// RFC 6455 §5.5.3 lets a peer answer only the last of several pings.
func TestOnePongForSeveralPings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		go c.Read(t.Context())
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, err := c.Ping(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		var payload string
		for range 5 {
			_, payload, _ = p.next()
		}
		p.send(wire.Pong, true, payload)
		wg.Wait()
	})
}

func TestKeepaliveFindsADeadPeer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{Keepalive: Keepalive{Interval: 10 * time.Second, Timeout: 3 * time.Second}})
		elapsed := stopwatch()
		p.does(func() {
			for range 2 {
				_, payload, _ := p.next()
				time.Sleep(time.Second)
				p.send(wire.Pong, true, payload)
			}
			p.drop()
		})
		_, _, err := c.Read(t.Context())
		if !errors.Is(err, ErrNoPong) || !errors.Is(err, net.ErrClosed) || elapsed() != 33*time.Second {
			t.Errorf("after %v: %v", elapsed(), err)
		}
		if c.Latency() != time.Second {
			t.Errorf("latency %v", c.Latency())
		}
	})
}

// A peer that does not even read is found as well.
func TestKeepaliveFindsABlockedPeer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := against(t, wire.Client, Options{Keepalive: Keepalive{Interval: 10 * time.Second}})
		elapsed := stopwatch()
		if _, _, err := c.Read(t.Context()); !errors.Is(err, ErrNoPong) || elapsed() != 20*time.Second {
			t.Errorf("after %v: %v", elapsed(), err)
		}
	})
}

func TestKeepaliveLeavesTheClosingHandshakeAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{Keepalive: Keepalive{Interval: time.Second}})
		p.does(func() {
			p.want(wire.Close, true, closePayload(t, 1000, ""))
			time.Sleep(3 * time.Second)
			p.send(wire.Close, true, closePayload(t, 1000, ""))
		})
		if err := c.Close(CloseNormal, ""); err != nil {
			t.Error(err)
		}
	})
}

// A peer that sends pings and reads nothing gets one pong in the end, for the last ping, and
// does not stop the reader.
func TestPingFloodOfAPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		writing := make(chan error, 1)
		go func() { writing <- c.Write(t.Context(), Text, []byte("in the way")) }()
		synctest.Wait()
		p.does(func() {
			for range 10000 {
				p.send(wire.Ping, true, "flood")
			}
			p.send(wire.Ping, true, "last")
			p.send(wire.Text, true, "after the flood")
		})
		if _, message, err := c.Read(t.Context()); string(message) != "after the flood" {
			t.Fatalf("got %q, %v", message, err)
		}
		p.want(wire.Text, true, "in the way")
		p.want(wire.Pong, true, "last")
		if err := <-writing; err != nil {
			t.Error(err)
		}
	})
}

func TestPongToAPeerThatDoesNotReadHasALimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		go p.send(wire.Ping, true, "")
		elapsed := stopwatch()
		if _, _, err := c.Read(t.Context()); !errors.Is(err, net.ErrClosed) || elapsed() != controlTimeout {
			t.Errorf("after %v: %v", elapsed(), err)
		}
	})
}

func TestWritePingAndPong(t *testing.T) {
	t.Parallel()
	c, p := against(t, wire.Client, Options{})
	long := strings.Repeat("x", 125)
	p.does(func() {
		p.want(wire.Ping, true, "are you there?")
		p.want(wire.Ping, true, "")
		p.want(wire.Pong, true, long)
	})
	for _, err := range []error{
		c.WritePing(t.Context(), []byte("are you there?")),
		c.WritePing(t.Context(), nil),
		c.WritePong(t.Context(), []byte(long)),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	// §5.5: "All control frames MUST have a payload length of 125 bytes or less".
	if c.WritePing(t.Context(), []byte(long+"x")) == nil || c.WritePong(t.Context(), []byte(long+"x")) == nil {
		t.Error("126 bytes were sent")
	}
	c.CloseNow()
	if err := c.WritePong(t.Context(), nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}
