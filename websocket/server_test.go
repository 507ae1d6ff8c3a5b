package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/duplexhq/duplex/websocket/wire"
)

// hundred is a burst that outgrows what the kernel keeps for a peer that does not read.
var hundred = bytes.Repeat([]byte("x"), 100_000)

// polledWays are those that a poller drives, where there is one.
func polledWays(t *testing.T) []way {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("there is no poller")
	}
	return []way{ways[1], ways[2]}
}

func TestWriteToASlowPeerIsRefused(t *testing.T) {
	t.Parallel()
	for _, w := range ways[1:] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			full := make(chan error, 1)
			s := newSite(t, w, ServerOptions{MaxPending: 300_000}, func(h *hooks) {
				h.open = func(c talker) {
					for range 1000 {
						if err := c.Write(Binary, hundred); err != nil {
							full <- err
							break
						}
					}
					c.Close(CloseTryAgainLater, "too slow") // after what is pending, if there is room
				}
			})
			p := s.dial()
			if err := <-full; err != ErrFull {
				t.Fatalf("got %v", err)
			}
			for {
				h, payload, err := p.next()
				if err != nil {
					t.Fatal(err)
				}
				if h.Opcode == wire.Close {
					p.send(wire.Close, true, payload)
					break
				}
				if payload != string(hundred) {
					t.Fatalf("%d bytes", len(payload))
				}
			}
			s.wantClosedEnd(CloseTryAgainLater, false)
		})
	}
}

// A peer that takes nothing for WriteTimeout is lost.
func TestStalledPeerIsLost(t *testing.T) {
	t.Parallel()
	for _, w := range ways[1:] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			opts := ServerOptions{MaxPending: 100 << 20}
			opts.WriteTimeout = 200 * time.Millisecond
			s := newSite(t, w, opts, func(h *hooks) {
				h.open = func(c talker) {
					for range 200 {
						c.Write(Binary, hundred)
					}
				}
			})
			s.dial()
			s.wantLost(os.ErrDeadlineExceeded)
		})
	}
}

// RFC 6455 §5.5.3: "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in
// response to previous Ping frame(s), the endpoint MAY elect to send a Pong frame for only the most
// recently processed Ping frame." Otherwise a peer that does not read could fill the memory.
func TestPingFloodLeavesOnePong(t *testing.T) {
	t.Parallel()
	for _, w := range polledWays(t) {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			const pings = 200_000
			received := newLatch()
			s := newSite(t, w, ServerOptions{MaxPending: 400_000}, func(h *hooks) {
				h.message = func(talker, MessageType, []byte) { received.open() }
			})
			p := s.dial()
			burst := repeat(p.frame(wire.Ping, true, strings.Repeat("p", 125)), pings/100)
			for range 100 {
				p.write(burst)
			}
			p.send(wire.Ping, true, "last")
			p.send(wire.Text, true, "all pings were read")
			<-received.c
			for pongs := 1; ; pongs++ {
				h, payload, err := p.next()
				if err != nil || h.Opcode != wire.Pong || pongs >= pings {
					t.Fatalf("after %d pongs: %+v, %v", pongs, h, err)
				}
				if payload == "last" {
					break
				}
			}
		})
	}
}

// What is held while a message is incomplete follows what has arrived.
func TestGatheredMemory(t *testing.T) {
	t.Parallel()
	for _, piece := range []int{1, 100, 5000, 100_000} {
		var g gathered
		const total = 300_000
		for got := 0; got < total; got += piece {
			g.add(hundred[:piece], 1<<40)
			if held := cap(g.b); held > max(8*len(g.b), 1024) {
				t.Fatalf("%d bytes held for %d", held, len(g.b))
			}
		}
		if !bytes.Equal(g.b[:100_000], hundred) || len(g.b) < total {
			t.Errorf("pieces of %d: wrong bytes", piece)
		}
		g.free()
	}
}

// A connection at rest costs its struct and that of the poller: no goroutine, no buffer.
func TestIdleConnectionsCostLittle(t *testing.T) {
	if size := unsafe.Sizeof(EventConn{}); size > 112 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("%d bytes, more than its size class", size)
	}
	for _, w := range polledWays(t) {
		conns := make(chan talker, 100)
		s := newSite(t, w, ServerOptions{}, func(h *hooks) { h.open = func(c talker) { conns <- c } })
		first := s.dial()
		first.send(wire.Text, true, "x")
		first.want(wire.Text, true, "x")
		goroutines := runtime.NumGoroutine()
		for range 50 {
			p := s.dial()
			p.send(wire.Text, false, "hello ")
			p.send(wire.Continuation, true, "world")
			p.want(wire.Text, true, "hello world")
		}
		eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
		for range 51 {
			c := (<-conns).(*EventConn)
			eventually(t, "nothing is held", func() bool {
				held := make(chan bool)
				c.polled.Do(func() {
					c.mu.Lock()
					defer c.mu.Unlock()
					held <- c.busy || c.reading != nil || c.cork != nil
				})
				return !<-held
			})
			c.CloseNow()
			s.wantLost(nil)
		}
		s.server.Close()
	}
}

// A connection that may compress, but remembers nothing, costs no more: what was agreed on is
// shared.
func TestIdleConnectionsWithCompressionCostLittle(t *testing.T) {
	k := &Compression{}
	for _, w := range polledWays(t) {
		if w.tls {
			continue // Dial would need its certificate
		}
		conns := make(chan *EventConn, 2)
		s := newSite(t, w, ServerOptions{AcceptOptions: AcceptOptions{Options: Options{Compression: k}}}, func(h *hooks) {
			h.open = func(c talker) { conns <- c.(*EventConn) }
		})
		var both [2]*EventConn
		for i := range both {
			c := dial(t, s.server.URL, &DialOptions{Options: Options{Compression: k}})
			both[i] = <-conns
			if err := c.Write(t.Context(), Text, jsonMessage()); err != nil {
				t.Fatal(err)
			}
			if _, got, err := c.Read(t.Context()); err != nil || !bytes.Equal(got, jsonMessage()) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			eventually(t, "nothing is held", func() bool {
				held := make(chan bool)
				both[i].polled.Do(func() {
					both[i].mu.Lock()
					defer both[i].mu.Unlock()
					held <- both[i].busy || both[i].reading != nil
				})
				return !<-held
			})
		}
		if both[0].deflate() == nil || both[0].agreed != both[1].agreed {
			t.Errorf("agreed on %+v and %+v", both[0].agreed, both[1].agreed)
		}
	}
}

func TestNothingLeaks(t *testing.T) {
	for _, w := range polledWays(t) {
		first := newSite(t, w, ServerOptions{}, nil).dial()
		first.send(wire.Text, true, "x")
		first.want(wire.Text, true, "x") // the loops, which stay, have started
		files, goroutines := openFiles(t), runtime.NumGoroutine()
		group := new(Group)
		s := newSite(t, w, ServerOptions{AcceptOptions: AcceptOptions{Group: group}}, nil)
		for i := range 60 {
			p := s.dial()
			p.send(wire.Text, true, "x")
			p.want(wire.Text, true, "x") // so that it is a member
			switch i % 3 {
			case 0:
				p.send(wire.Close, true, "")
			case 1:
				p.conn.Close()
			}
			if i%3 == 2 {
				p.does(func() { p.drop(); p.conn.Close() })
			} else {
				p.drop()
				p.conn.Close()
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		group.Shutdown(ctx)
		cancel()
		for range 60 {
			s.hooks.wantEnd(t)
		}
		s.server.Close()
		eventually(t, "all is given back", func() bool {
			return openFiles(t) <= files+5 && runtime.NumGoroutine() <= goroutines+5
		})
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestEventAllocations(t *testing.T) {
	w := polledWays(t)[1]
	conns := make(chan *EventConn, 1)
	s := newSite(t, w, ServerOptions{}, func(h *hooks) { h.open = func(c talker) { conns <- c.(*EventConn) } })
	p := s.dial()
	c := <-conns
	request := repeat(p.frame(wire.Text, true, "thirty-two bytes of a message..."), 3)
	answer := make([]byte, 3*34)
	frame := AppendMessage(nil, Text, []byte("shared"))
	shared := make([]byte, 2*len(frame))
	prepared, _ := Prepare(Text, []byte("shared"))
	for name, f := range map[string]func() error{
		"echo": func() error {
			p.conn.Write(request)
			_, err := io.ReadFull(p.r, answer)
			return err
		},
		"WriteFrames": func() error {
			c.WriteFrames(frame, frame)
			_, err := io.ReadFull(p.r, shared)
			return err
		},
		"WritePrepared": func() error {
			c.WritePrepared(prepared)
			_, err := io.ReadFull(p.r, shared[:len(frame)])
			return err
		},
	} {
		n := testing.AllocsPerRun(500, func() {
			if err := f(); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 && !raceEnabled { // which makes sync.Pool forget things at random
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// Both ends compress, and with a client's takeover a machine remembers its messages.
func TestEventCompression(t *testing.T) {
	t.Parallel()
	for _, w := range ways[1:] {
		if w.tls {
			continue // Dial would need its certificate; the frames are made by the same code
		}
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			k := &Compression{ServerTakeover: true, ClientTakeover: true}
			s := newSite(t, w, ServerOptions{AcceptOptions: AcceptOptions{Options: Options{Compression: k, ReadLimit: 4 << 20}}}, nil)
			var lengths []int64
			c := dial(t, s.server.URL, &DialOptions{Options: Options{Compression: k, ReadLimit: 4 << 20, Observe: func(e FrameEvent) {
				if !e.Opcode.Control() {
					lengths = append(lengths, e.Length)
				}
			}}})
			for _, message := range [][]byte{jsonMessage(), []byte("short"), jsonMessage(), bytes.Repeat(jsonMessage(), 700)} {
				if err := c.Write(t.Context(), Text, message); err != nil {
					t.Fatal(err)
				}
				_, got, err := c.Read(t.Context())
				if err != nil || !bytes.Equal(got, message) {
					t.Fatalf("%d bytes of %d, %v", len(got), len(message), err)
				}
			}
			if lengths[0] > 2000 || lengths[1] > 2000 || lengths[4] > 200 {
				t.Errorf("frames of %d bytes: not compressed, or without takeover", lengths)
			}
			prepared, _ := Prepare(Text, jsonMessage())
			if prepared.FrameIn(c.FrameForm())[0]&wire.RSV1 == 0 {
				t.Error("not compressed")
			}
			if err := c.Close(CloseNormal, ""); err != nil {
				t.Error(err)
			}
			s.wantClosedEnd(CloseNormal, true)
		})
	}
}

func TestServerOverHTTP2(t *testing.T) {
	group := new(Group)
	h := newHooks()
	server := NewServer(h, &ServerOptions{AcceptOptions: AcceptOptions{Group: group, Subprotocols: []string{"s"}}})
	eachHTTP2(t, server, func(t *testing.T, url string, transport *http.Transport) {
		c, _, err := Dial(t.Context(), url, &DialOptions{HTTP2: transport, Subprotocols: []string{"s"}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		for _, size := range []int{1, 100_000} {
			message := strings.Repeat("x", size)
			if err := c.Write(t.Context(), Text, []byte(message)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := c.Read(t.Context()); string(got) != message {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		}
		if c.Subprotocol() != "s" {
			t.Errorf("subprotocol %q", c.Subprotocol())
		}
		if err := c.Close(CloseNormal, "bye"); err != nil {
			t.Error(err)
		}
		wantClosed(t, h.wantEnd(t), CloseNormal, true)
	})
}

func TestEventValueAndLater(t *testing.T) {
	t.Parallel()
	for _, w := range ways[1:] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, w, ServerOptions{}, func(h *hooks) {
				h.open = func(c talker) { c.(*EventConn).SetValue("before") }
				h.message = func(c talker, _ MessageType, message []byte) {
					e := c.(*EventConn)
					value := e.Value().(string) + string(message)
					e.Later(func() { e.Write(Text, []byte(value)) })
				}
			})
			p := s.dial()
			p.send(wire.Text, true, " and later")
			p.want(wire.Text, true, "before and later")
		})
	}
}

func TestEventObserve(t *testing.T) {
	t.Parallel()
	for _, w := range ways[1:] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			seen := make(chan FrameEvent, 100)
			opts := ServerOptions{}
			opts.Observe = func(e FrameEvent) { e.Payload = nil; seen <- e }
			s := newSite(t, w, opts, nil)
			p := s.dial()
			p.send(wire.Binary, true, string(hundred))
			p.want(wire.Binary, true, string(hundred))
			p.send(wire.Ping, true, "ping")
			p.want(wire.Pong, true, "ping")
			for _, want := range []FrameEvent{
				{Fin: true, Opcode: Binary, Masked: true, Length: int64(len(hundred))},
				{Fin: true, Opcode: Binary, Length: int64(len(hundred)), Sent: true},
				{Fin: true, Opcode: wire.Ping, Masked: true, Length: 4},
				{Fin: true, Opcode: wire.Pong, Length: 4, Sent: true},
			} {
				got := <-seen
				if got.Time.IsZero() {
					t.Error("no time")
				}
				if got.Time = (time.Time{}); got.Opcode != want.Opcode || got.Length != want.Length || got.Masked != want.Masked || got.Sent != want.Sent {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
		})
	}
}

// A handler may end a connection at any moment.
func TestEventEndsFromTheHandler(t *testing.T) {
	t.Parallel()
	for _, w := range ways[1:] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			messages := make(chan string, 10)
			s := newSite(t, w, ServerOptions{}, func(h *hooks) {
				h.message = func(c talker, _ MessageType, message []byte) {
					messages <- string(message)
					c.CloseNow()
					if err := c.Write(Text, nil); !errors.Is(err, net.ErrClosed) {
						t.Errorf("written after the end: %v", err)
					}
				}
			})
			p := s.dial()
			p.write(append(p.frame(wire.Text, true, "one"), p.frame(wire.Text, true, "two")...))
			s.wantLost(nil)
			if len(messages) != 1 {
				t.Errorf("%d messages after the end", len(messages)-1)
			}
			at := newSite(t, w, ServerOptions{}, func(h *hooks) { h.open = func(c talker) { c.CloseNow() } })
			at.dial()
			at.wantLost(nil)
		})
	}
}
