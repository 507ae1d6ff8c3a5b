package websocket

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// socketPair gives two ends of a connection of the operating system.
func socketPair(t *testing.T, network string) (a, b net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "socket")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return a, b
}

func eachNetwork(t *testing.T, test func(t *testing.T, c *Conn, p *peer)) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			a, b := socketPair(t, network)
			p := &peer{t: t, conn: b, r: bufio.NewReader(b), role: wire.Client}
			c := newConn(a, wire.Server, "", Options{WriteTimeout: -1}, nil)
			t.Cleanup(c.CloseNow)
			test(t, c, p)
		})
	}
}

// What the network does not take at once follows, whole and in order.
func TestWritesToASlowSocket(t *testing.T) {
	eachNetwork(t, func(t *testing.T, c *Conn, p *peer) {
		long := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // more than any socket takes
		frame := AppendMessage(nil, Binary, long[:1<<20])
		var wg sync.WaitGroup
		wg.Go(func() {
			for _, err := range []error{
				c.Write(t.Context(), Binary, long),
				c.Write(t.Context(), Binary, long[:10]),
				c.WriteFrames(t.Context(), frame, frame, frame),
				c.WriteFrames(t.Context(), frame),
			} {
				if err != nil {
					t.Error(err)
				}
			}
		})
		p.want(wire.Binary, true, string(long))
		p.want(wire.Binary, true, string(long[:10]))
		for range 4 {
			p.want(wire.Binary, true, string(long[:1<<20]))
		}
		wg.Wait()
	})
}

// Only a write that has to wait is bounded, and an earlier bound does not matter.
func TestWriteToASocketIsBounded(t *testing.T) {
	eachNetwork(t, func(t *testing.T, c *Conn, p *peer) {
		c.writeTimeout = time.Nanosecond // is over at once
		if err := c.Write(t.Context(), Text, []byte("takes no time")); err != nil {
			t.Fatal(err)
		}
		p.want(wire.Text, true, "takes no time")
		long := make([]byte, 16<<20)
		if err := c.Write(t.Context(), Binary, long); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWriteToASocketEndsWithItsContext(t *testing.T) {
	eachNetwork(t, func(t *testing.T, c *Conn, _ *peer) {
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error)
		go func() { stopped <- c.Write(ctx, Binary, make([]byte, 16<<20)) }()
		cancel() // before or while it waits
		if err := <-stopped; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// A goroutine that waits for a message keeps the smallest stack that there is, even after it has
// answered one.
func TestIdleReaderNeedsASmallStack(t *testing.T) {
	if raceEnabled || runtime.GOOS != "linux" {
		t.Skip("frames are larger with the race detector, and package net writes where there is no other way")
	}
	const count = 400
	inUse := func() uint64 {
		runtime.GC() // which frees the stacks of goroutines that have ended
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.StackInuse
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	// The runtime lets new goroutines begin with what those needed that it has seen: with little.
	done := make(chan struct{})
	for range 2000 {
		wg.Go(func() { <-done })
	}
	defer close(done)
	runtime.GC()
	before := inUse()
	for range count {
		a, b := socketPair(t, "tcp")
		c := newConn(a, wire.Server, "", Options{}, nil)
		defer c.CloseNow()
		wg.Go(func() {
			var message []byte
			for {
				var err error
				var messageType MessageType
				if messageType, message, err = c.ReadAppend(context.Background(), message[:0]); err != nil {
					return
				}
				if c.Write(context.Background(), messageType, message) != nil {
					return
				}
			}
		})
		p := &peer{t: t, conn: b, r: bufio.NewReaderSize(b, 16), role: wire.Client}
		p.send(wire.Text, true, "hello")
		p.want(wire.Text, true, "hello")
	}
	const small = 2048
	if each := (inUse() - before) / count; each > small*5/4 {
		t.Errorf("%d bytes of stack each", each)
	}
}
