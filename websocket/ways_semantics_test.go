package websocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

func TestWaysEchoEverySize(t *testing.T) {
	eachWay(t, ServerOptions{}, nil, func(t *testing.T, s *site) {
		p := s.dial()
		for _, size := range []int{0, 1, 125, 126, 4096, 8190, 8192, 65535, 65536, 65537, 200_000, 1 << 20} {
			for _, opcode := range []wire.Opcode{wire.Text, wire.Binary} {
				message := strings.Repeat("x", size)
				p.does(func() { p.send(opcode, true, message) })
				p.want(opcode, true, message)
				p.wg.Wait()
			}
		}
	})
}

// RFC 6455 §5.4: "Control frames MAY be injected in the middle of a fragmented message", and frames
// "have no semantic meaning" for how they are cut.
func TestWaysByteByByte(t *testing.T) {
	eachWay(t, ServerOptions{}, nil, func(t *testing.T, s *site) {
		p := s.dial()
		var data []byte
		data = append(data, p.frame(wire.Text, false, "Grüße, ")...)
		data = append(data, p.frame(wire.Ping, true, "in between")...)
		data = append(data, p.frame(wire.Continuation, false, "")...)
		data = append(data, p.frame(wire.Continuation, false, "世")...)
		data = append(data, p.frame(wire.Pong, true, "unasked")...)
		data = append(data, p.frame(wire.Continuation, true, "界")...)
		data = append(data, p.frame(wire.Binary, true, strings.Repeat("b", 300))...)
		data = append(data, p.frame(wire.Close, true, closePayload(t, 1000, "done"))...)
		p.does(func() {
			for i := range data {
				p.write(data[i : i+1])
			}
		})
		p.want(wire.Pong, true, "in between")
		p.want(wire.Text, true, "Grüße, 世界")
		p.want(wire.Binary, true, strings.Repeat("b", 300))
		p.want(wire.Close, true, closePayload(t, 1000, "done"))
		p.wantEnd()
		s.wantClosedEnd(1000, true)
	})
}

func TestWaysManyFramesInOneWrite(t *testing.T) {
	eachWay(t, ServerOptions{}, nil, func(t *testing.T, s *site) {
		p := s.dial()
		const count = 5000
		p.does(func() {
			var data []byte
			for i := range count {
				data = append(data, p.frame(wire.Text, true, fmt.Sprint("message ", i))...)
			}
			p.write(data)
		})
		for i := range count {
			p.want(wire.Text, true, fmt.Sprint("message ", i))
		}
	})
}

// RFC 6455 §7.1.1: "the underlying TCP connection ... SHOULD be closed first by the server".
func TestWaysServerCloses(t *testing.T) {
	said := func(h *hooks) {
		h.message = func(c talker, _ MessageType, message []byte) {
			if string(message) == "close" {
				c.Write(Text, []byte("before"))
				c.Close(CloseGoingAway, "restart")
				if err := c.Close(99, ""); err == nil && fmt.Sprintf("%T", c) == "*websocket.EventConn" {
					t.Error("code 99 was taken")
				}
				return
			}
			if err := c.Write(Text, []byte("after")); err == nil {
				t.Error("written after the close frame")
			}
			if _, read := c.(readConn); !read {
				h.closed <- errors.New(string(message))
			}
		}
	}
	eachWay(t, ServerOptions{}, said, func(t *testing.T, s *site) {
		p := s.dial()
		p.send(wire.Text, true, "close")
		p.want(wire.Text, true, "before")
		p.want(wire.Close, true, closePayload(t, 1001, "restart"))
		p.send(wire.Text, true, "on its way") // "to go to a read that is waiting"
		if s.way.events {                     // a read by a goroutine may come too late
			if err := s.hooks.wantEnd(t); err.Error() != "on its way" {
				t.Errorf("got %v", err)
			}
		}
		p.send(wire.Close, true, closePayload(t, 1001, ""))
		p.wantEnd()
		s.wantClosedEnd(1001, false)
	})
}

func TestWaysPeerClosesWithoutACode(t *testing.T) {
	eachWay(t, ServerOptions{}, nil, func(t *testing.T, s *site) {
		p := s.dial()
		p.send(wire.Close, true, "")
		p.want(wire.Close, true, "")
		p.wantEnd()
		s.wantClosedEnd(CloseNoStatus, true)
	})
}

// A peer that does not answer the close frame has a time limit.
func TestWaysSilentPeerAfterClose(t *testing.T) {
	opts := ServerOptions{AcceptOptions: AcceptOptions{Options: Options{CloseTimeout: 100 * time.Millisecond}}}
	eachWay(t, opts, func(h *hooks) { h.open = func(c talker) { c.Close(4000, "go") } }, func(t *testing.T, s *site) {
		p := s.dial()
		p.want(wire.Close, true, closePayload(t, 4000, "go"))
		p.wantGone()
		s.wantClosedEnd(4000, false)
	})
}

// RFC 6455 §7.1.7: what a peer does wrong ends in a close frame that says so.
func TestWaysFaults(t *testing.T) {
	masked := func(first byte, length string) string { return string([]byte{first}) + length + "\x00\x00\x00\x00" }
	length := func(n uint64) string { return string(binary.BigEndian.AppendUint64([]byte{0xff}, n)) }
	for name, test := range map[string]struct {
		bytes string
		code  CloseCode
	}{
		"not masked":          {"\x81\x05Hello", 1002},
		"length 2^63-1":       {"\x82" + length(1<<63-1) + "\x00\x00\x00\x00", 1009},
		"length 2^63":         {"\x82" + length(1<<63), 1002},
		"length 2^64-1":       {"\x82" + length(1<<64-1), 1002},
		"length not minimal":  {"\x82" + length(65535), 1002},
		"too big":             {"\x82" + length(1<<20+1) + "\x00\x00\x00\x00", 1009},
		"sum overflows":       {masked(0x02, "\x81") + "x\x80" + length(1<<63-1) + "\x00\x00\x00\x00", 1009},
		"RSV1":                {masked(0xc1, "\x80"), 1002},
		"RSV1 on a ping":      {masked(0xc9, "\x80"), 1002},
		"reserved opcode":     {masked(0x83, "\x80"), 1002},
		"fragmented ping":     {masked(0x09, "\x80"), 1002},
		"nothing to go on":    {masked(0x80, "\x80"), 1002},
		"message in message":  {masked(0x01, "\x80") + masked(0x81, "\x80"), 1002},
		"text not UTF-8":      {masked(0x81, "\x82") + "\xc3\x28", 1007},
		"not UTF-8, early":    {masked(0x01, "\xfe\x10\x00") + "abc\xff", 1007},
		"half a close code":   {masked(0x88, "\x81") + "\x03", 1002},
		"close code 1006":     {masked(0x88, "\x82") + "\x03\xee", 1002},
		"too many fragments":  {masked(0x02, "\x80") + strings.Repeat(masked(0x00, "\x81")+"x", wire.MaxFragments), 1008},
		"fault after a ping":  {masked(0x89, "\x80") + "\x81\x05Hello", 1002},
		"reason is not UTF-8": {masked(0x88, "\x83") + "\x03\xe8\xff", 1007},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, ServerOptions{}, nil, func(t *testing.T, s *site) {
				p := s.dial()
				p.does(func() { p.conn.Write([]byte(test.bytes + strings.Repeat("more", 1000))) })
				for {
					h, payload, err := p.next()
					if err == nil && h.Opcode == wire.Pong {
						continue
					}
					if err != nil || h.Opcode != wire.Close || len(payload) < 2 || CloseCode(binary.BigEndian.Uint16([]byte(payload))) != test.code {
						t.Errorf("peer got %+v %q, %v; want %d", h, payload, err, test.code)
					}
					break
				}
				p.wantEnd()
				p.conn.Close()
				s.wantClosedEnd(test.code, false)
			})
		})
	}
}

func TestWaysReadLimit(t *testing.T) {
	opts := ServerOptions{AcceptOptions: AcceptOptions{Options: Options{ReadLimit: 10}}}
	eachWay(t, opts, nil, func(t *testing.T, s *site) {
		p := s.dial()
		p.send(wire.Text, false, "12345")
		p.send(wire.Continuation, true, "67890")
		p.want(wire.Text, true, "1234567890")
		p.send(wire.Text, false, "12345")
		p.send(wire.Continuation, true, "678901")
		p.want(wire.Close, true, closePayload(t, 1009, "too-big"))
		p.conn.Close()
		s.wantClosedEnd(1009, false)
	})
}

func TestWaysMessageTimeout(t *testing.T) {
	opts := ServerOptions{AcceptOptions: AcceptOptions{Options: Options{MessageTimeout: 100 * time.Millisecond}}}
	eachWay(t, opts, nil, func(t *testing.T, s *site) {
		p := s.dial()
		p.send(wire.Text, true, "whole")
		p.want(wire.Text, true, "whole")
		p.send(wire.Text, false, "half")
		p.want(wire.Close, true, closePayload(t, 1008, "message not finished in time"))
		p.conn.Close()
		s.wantClosedEnd(1008, false)
	})
}

// A peer that is read from slower than it is written to gets everything, in order.
func TestWaysSlowReader(t *testing.T) {
	const count, size = 150, 100_000
	flood := func(h *hooks) {
		h.message = func(c talker, _ MessageType, _ []byte) {
			for i := range count {
				if err := c.Write(Binary, bytes.Repeat([]byte{byte(i)}, size)); err != nil {
					t.Error(err)
				}
			}
		}
	}
	eachWay(t, ServerOptions{MaxPending: count * (size + 10)}, flood, func(t *testing.T, s *site) {
		p := s.dial()
		p.send(wire.Text, true, "begin")
		p.send(wire.Ping, true, "still there")
		for i := range count {
			p.want(wire.Binary, true, strings.Repeat(string([]byte{byte(i)}), size))
		}
		p.want(wire.Pong, true, "still there")
	})
}

// A handler that echoes need not care for peers that do not read: they are not read from.
func TestWaysEchoHoldsBack(t *testing.T) {
	const count, size = 100, 200_000
	eachWay(t, ServerOptions{}, nil, func(t *testing.T, s *site) {
		p := s.dial()
		p.does(func() {
			for i := range count {
				p.send(wire.Binary, true, strings.Repeat(string([]byte{byte(i)}), size))
			}
		})
		p.r.Peek(1)
		for i := range count {
			p.want(wire.Binary, true, strings.Repeat(string([]byte{byte(i)}), size))
		}
	})
}

func TestWaysKeepaliveFindsADeadPeer(t *testing.T) {
	t.Parallel()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			const most = 30 * time.Second
			timeout := 300 * time.Millisecond
			for ; timeout < most && !keptAlive(t, w, timeout); timeout *= 2 { // else the machine is so slow
			}
			if timeout >= most {
				t.Error("pongs do not keep a connection alive")
			}
		})
	}
}

// keptAlive answers two pings, and then no more. It reports whether the connection has outlived the
// two.
func keptAlive(t *testing.T, w way, timeout time.Duration) bool {
	conns := make(chan talker, 1)
	opts := ServerOptions{AcceptOptions: AcceptOptions{Options: Options{
		Keepalive: Keepalive{Interval: timeout / 2, Timeout: timeout},
	}}}
	s := newSite(t, w, opts, func(h *hooks) { h.open = func(c talker) { conns <- c } })
	p := s.dial()
	for range 2 {
		h, payload, err := p.next()
		if err == nil && h.Opcode != wire.Ping {
			t.Fatalf("got %+v", h)
		}
		if err == nil {
			_, err = p.conn.Write(p.frame(wire.Pong, true, payload))
		}
		if err != nil {
			s.wantLost(ErrNoPong)
			return false
		}
	}
	s.wantLost(ErrNoPong)
	if latency := (<-conns).Latency(); latency <= 0 {
		t.Errorf("latency %v", latency)
	}
	return true
}

func TestWaysPing(t *testing.T) {
	conns := make(chan talker, len(ways))
	eachWay(t, ServerOptions{}, func(h *hooks) { h.open = func(c talker) { conns <- c } }, func(t *testing.T, s *site) {
		p := s.dial()
		c := <-conns
		p.does(func() {
			for {
				h, payload, err := p.next()
				if err != nil || h.Opcode == wire.Close {
					return
				}
				p.send(wire.Pong, true, payload)
			}
		})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if d, err := c.Ping(t.Context()); err != nil || d <= 0 {
					t.Errorf("ping: %v, %v", d, err)
				}
			})
		}
		wg.Wait()
		if host, _, _ := net.SplitHostPort(c.RemoteAddr().String()); host != "127.0.0.1" {
			t.Errorf("peer at %v", c.RemoteAddr())
		}
		c.CloseNow()
		s.wantLost(nil)
		if _, err := c.Ping(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("ping after the end: %v", err)
		}
		if err := c.Write(Text, nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after the end: %v", err)
		}
	})
}

// A ping that waits ends with its connection.
func TestWaysPingOfALostPeer(t *testing.T) {
	conns := make(chan talker, len(ways))
	eachWay(t, ServerOptions{}, func(h *hooks) { h.open = func(c talker) { conns <- c } }, func(t *testing.T, s *site) {
		p := s.dial()
		c := <-conns
		p.does(func() {
			p.next()
			p.conn.Close()
		})
		if _, err := c.Ping(t.Context()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Ping(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

// Many goroutines write to one connection while others ping and close it.
func TestWaysManyWriters(t *testing.T) {
	const writers, messages = 100, 100
	flood := func(h *hooks) {
		h.message = func(c talker, _ MessageType, _ []byte) {
			go func() {
				var wg sync.WaitGroup
				for w := range writers {
					wg.Go(func() {
						for i := range messages {
							if err := c.Write(Text, fmt.Appendf(nil, "%d %d", w, i)); err != nil {
								t.Error(err)
							}
						}
					})
				}
				wg.Wait()
				wg.Go(func() { c.Close(CloseNormal, "enough") })
				for range 10 {
					wg.Go(func() { c.Write(Text, []byte("late")) })
				}
				wg.Wait()
			}()
		}
	}
	eachWay(t, ServerOptions{MaxPending: 16 << 20}, flood, func(t *testing.T, s *site) {
		p := s.dial()
		p.send(wire.Text, true, "begin")
		var next [writers]int
		for got := 0; ; {
			h, payload, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			if h.Opcode == wire.Close {
				if got != writers*messages {
					t.Errorf("%d messages", got)
				}
				p.send(wire.Close, true, payload)
				break
			}
			var w, i int
			if n, _ := fmt.Sscan(payload, &w, &i); n != 2 {
				if payload != "late" {
					t.Fatalf("got %q", payload)
				}
				continue
			}
			if i != next[w] {
				t.Fatalf("got %d of writer %d, want %d", i, w, next[w])
			}
			next[w]++
			got++
		}
		p.wantEnd()
		s.wantClosedEnd(1000, false)
	})
}

// A peer that ends its direction without a close frame still gets its answers.
func TestWaysHalfClose(t *testing.T) {
	eachWay(t, ServerOptions{}, nil, func(t *testing.T, s *site) {
		p := s.dial()
		p.send(wire.Text, true, "last")
		p.conn.(interface{ CloseWrite() error }).CloseWrite()
		p.want(wire.Text, true, "last")
		p.wantGone()
		s.wantLost(io.ErrUnexpectedEOF)
	})
}

func TestWaysReset(t *testing.T) {
	for name, before := range map[string][]byte{"at rest": nil, "in a frame": []byte("\x81\xfe"), "in a message": []byte("\x01\x80\x00\x00\x00\x00")} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, ServerOptions{}, nil, func(t *testing.T, s *site) {
				p := s.dial()
				p.write(before)
				conn := p.conn
				if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
					conn = secure.NetConn()
				}
				conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
				s.wantLost(nil)
			})
		})
	}
}

// A handler that blocks holds up nobody but its own connection.
func TestWaysBlockingHandler(t *testing.T) {
	eachWay(t, ServerOptions{}, blocking, func(t *testing.T, s *site) {
		if !s.way.blocks {
			t.Skip("promises not to block")
		}
		var blocked []*peer
		for range 10 { // more than there are loops
			p := s.dial()
			p.send(wire.Text, true, "block")
			p.send(wire.Text, true, "next")
			blocked = append(blocked, p)
		}
		for range 10 {
			p := s.dial()
			p.send(wire.Text, true, "free")
			p.want(wire.Text, true, "free")
		}
		s.hooks.release.open()
		for _, p := range blocked {
			p.want(wire.Text, true, "block")
			p.want(wire.Text, true, "next")
		}
	})
}
