package poller_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/duplexhq/duplex/internal/poller"
)

// What arrives is given whole and in order, however it was cut, and FIN ends
// the connection only after the answers were sent.
func TestEcho(t *testing.T) {
	for _, procs := range []int{1, 4} {
		t.Run("", func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			r := random(t)
			p := newPoller(t, 0)
			var clients sync.WaitGroup
			for range 8 {
				over, ended := closing()
				// Half a MiB of answers is more than the client's window.
				_, client := adopt(t, p, &hooks{data: echo, closed: over}, nil)
				sent := make([]byte, 512<<10)
				fill(r, sent)
				seed := r.Uint64()
				clients.Go(func() {
					r := rand.New(rand.NewPCG(seed, 1))
					for rest := sent; len(rest) > 0; {
						n := min(len(rest), 1+r.IntN(1<<r.IntN(18)))
						if _, err := client.Write(rest[:n]); err != nil {
							t.Error(err)
							return
						}
						rest = rest[n:]
					}
					if err := client.CloseWrite(); err != nil {
						t.Error(err)
					}
					got, err := io.ReadAll(client)
					if err != nil || !bytes.Equal(got, sent) {
						t.Errorf("got %d bytes of %d, %v", len(got), len(sent), err)
					}
					if err := <-ended; err != io.EOF {
						t.Errorf("closed with %v, want EOF", err)
					}
				})
			}
			clients.Wait()
		})
	}
}

// Bytes that were read before the poller came are the first.
func TestEarlyBytes(t *testing.T) {
	p := newPoller(t, 1)
	server, client := newDialer(t).pair()
	if _, err := client.Write([]byte("world")); err != nil {
		t.Fatal(err)
	}
	c, err := p.Adopt(server, &hooks{data: echo}, nil, []byte("hello "))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	expect(t, client, "hello world")
}

// Each connection is told of its end exactly once, however it ends, and
// nothing is left behind.
func TestChurn(t *testing.T) {
	warmUp(t)
	files := openFiles(t)
	r := random(t)
	p, err := poller.New(0)
	if err != nil {
		t.Fatal(err)
	}
	const workers, each = 20, 100
	var ends [workers*each + 1]atomic.Int32
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting, clients, helpers sync.WaitGroup
	accepting.Go(func() {
		for i := 0; ; i++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			c, err := p.Adopt(conn, &hooks{
				data: func(c *poller.Conn, b []byte) {
					echo(c, b)
					switch b[0] % 8 {
					case 0:
						c.Close()
					case 1:
						c.Abort()
					case 2:
						c.Pause(b[1:])
						helpers.Go(c.Resume)
					case 3:
						helpers.Go(c.Abort)
						c.Close()
					}
				},
				closed: func(*poller.Conn, error) { ends[i].Add(1) },
			}, nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if err := c.Start(); err != nil {
				t.Error(err)
			}
		}
	})
	for range workers {
		seed := r.Uint64()
		clients.Go(func() {
			r := rand.New(rand.NewPCG(seed, 2))
			for range each {
				conn, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				tcp := conn.(*net.TCPConn)
				b := make([]byte, 1+r.IntN(5000))
				fill(r, b)
				// Errors are what is wanted here: the server ends some at once.
				for range 1 + r.IntN(3) {
					_, _ = tcp.Write(b)
				}
				switch r.IntN(4) {
				case 0:
					_ = tcp.SetLinger(0) // RST
				case 1:
					_ = tcp.CloseWrite()
					_, _ = io.Copy(io.Discard, tcp)
				case 2:
					_, _ = tcp.Read(b)
				}
				tcp.Close()
			}
		})
	}
	clients.Wait()
	// They are accepted in their order: once one more is answered, all were.
	last, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := last.Write([]byte{4}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(last, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	last.Close()
	ln.Close()
	accepting.Wait()
	p.Close()
	helpers.Wait()
	for i := range ends {
		if n := ends[i].Load(); n != 1 {
			t.Errorf("connection %d: Closed was called %d times", i, n)
		}
	}
	if n := newFiles(t, files); n != 0 {
		t.Errorf("%d files are still open", n)
	}
	noLoops(t)
}

// The number of a closed connection's descriptor is given to the next one. No
// write that comes too late may reach that.
func TestDescriptorReuse(t *testing.T) {
	p := newPoller(t, 2)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var accepting, writers sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			c, err := p.Adopt(conn, &hooks{data: func(c *poller.Conn, b []byte) {
				mark := bytes.Repeat(b[:1], 100)
				writers.Go(func() { // writes on, long after the connection is closed
					for failed := 0; failed < 100; {
						if _, err := c.Write(mark); errors.Is(err, net.ErrClosed) {
							failed++
						} else if failed > 0 {
							t.Errorf("a write after the end: %v", err)
							return
						}
					}
				})
				c.Pause(nil)
			}}, nil, nil)
			if err == nil {
				err = c.Start()
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	var clients sync.WaitGroup
	for worker := range 8 {
		clients.Go(func() {
			for i := range 25 {
				conn, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				mark := byte(worker*31 + i)
				if _, err := conn.Write([]byte{mark}); err != nil {
					t.Error(err)
				}
				b := make([]byte, 700)
				if _, err := io.ReadFull(conn, b); err != nil {
					t.Error(err)
				}
				for _, got := range b {
					if got != mark {
						t.Errorf("got %d, which belongs to another connection", got)
						break
					}
				}
				if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
					t.Error(err)
				}
				conn.Close()
			}
		})
	}
	clients.Wait()
	ln.Close()
	accepting.Wait()
	p.Close()
	writers.Wait()
}

// Close ends what is open, in use or not, and nothing is called afterwards.
func TestPollerClose(t *testing.T) {
	warmUp(t)
	files := openFiles(t)
	p, err := poller.New(3)
	if err != nil {
		t.Fatal(err)
	}
	d := newDialer(t)
	var closed, other atomic.Int32
	h := &hooks{closed: func(_ *poller.Conn, err error) {
		if err == net.ErrClosed {
			closed.Add(1)
		} else {
			other.Add(1)
		}
	}}
	var unstarted *poller.Conn
	for i := range 30 {
		server, client := d.pair()
		defer client.Close()
		c, err := p.Adopt(server, h, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if i == 29 {
			unstarted = c
			break
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 { // more than the peer takes
			if n, err := c.Write(make([]byte, 16<<20)); n == 0 || err != nil {
				t.Fatal(n, err)
			}
		}
		if i%5 == 0 {
			c.Close()
		}
	}
	p.Close()
	p.Close() // again is harmless
	if closed.Load() != 29 || other.Load() != 0 {
		t.Errorf("%d connections of 29 were closed with net.ErrClosed, %d with another error", closed.Load(), other.Load())
	}
	if err := unstarted.Start(); err != net.ErrClosed {
		t.Errorf("Start after Close: %v", err)
	}
	server, client := d.pair()
	if _, err := p.Adopt(server, h, nil, nil); err != net.ErrClosed {
		t.Errorf("Adopt after Close: %v", err)
	}
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("refused connection: %v, want EOF", err)
	}
	noLoops(t)
	// The listener and the clients are open still.
	if n := newFiles(t, files); n != 1+31 {
		t.Errorf("%d files are open, want 32", n)
	}
}

// A connection that was never started can be ended, too.
func TestEndBeforeStart(t *testing.T) {
	p := newPoller(t, 1)
	for name, end := range map[string]func(*poller.Conn){"close": (*poller.Conn).Close, "abort": (*poller.Conn).Abort} {
		t.Run(name, func(t *testing.T) {
			server, client := newDialer(t).pair()
			over, ended := closing()
			c, err := p.Adopt(server, &hooks{closed: over}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			end(c)
			if err := c.Start(); err != net.ErrClosed {
				t.Errorf("Start: %v", err)
			}
			_, err = client.Read(make([]byte, 1))
			if want := map[string]error{"close": io.EOF, "abort": syscall.ECONNRESET}[name]; !errors.Is(err, want) {
				t.Errorf("the peer sees %v, want %v", err, want)
			}
			client.Close()
			if err := <-ended; err != net.ErrClosed {
				t.Errorf("closed with %v", err)
			}
		})
	}
}

// warmUp lets package net and the runtime open what they keep.
func warmUp(t *testing.T) {
	t.Helper()
	p, err := poller.New(0)
	if err != nil {
		t.Fatal(err)
	}
	server, client := newDialer(t).pair()
	server.Close()
	client.Close()
	p.Close()
}

// noLoops fails if a loop is still running.
func noLoops(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if bytes.Contains(stacks, []byte("poller.(*loop)")) {
		t.Errorf("a loop is left:\n%s", stacks)
	}
}

// expect reads exactly want.
func expect(t testing.TB, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}
