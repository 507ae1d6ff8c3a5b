package poller_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/duplexhq/duplex/internal/poller"
)

// While one connection waits for a handler that blocks elsewhere, it gets no
// data, and the others of its loop go on.
func TestPause(t *testing.T) {
	p := newPoller(t, 1)
	release := make(chan struct{})
	paused := make(chan struct{})
	var working atomic.Bool
	_, slow := adopt(t, p, &hooks{data: func(c *poller.Conn, b []byte) {
		if working.Load() {
			t.Error("Data while paused")
		}
		// One byte is one message, and the rest is for later.
		message := string(b[:1])
		working.Store(true)
		c.Pause(b[1:])
		go func() {
			if message == "a" {
				close(paused)
			}
			<-release
			_, _ = c.Write([]byte(message))
			working.Store(false)
			c.Resume()
		}()
	}}, nil)
	_, quick := adopt(t, p, &hooks{data: echo}, nil)
	if _, err := slow.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	<-paused
	if _, err := slow.Write([]byte("def")); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := quick.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		expect(t, quick, "x")
	}
	close(release)
	expect(t, slow, "abcdef")
}

// A connection that always has something to say leaves the others their share.
func TestFairness(t *testing.T) {
	p := newPoller(t, 1)
	var taken atomic.Int64
	_, loud := adopt(t, p, &hooks{data: func(_ *poller.Conn, b []byte) { taken.Add(int64(len(b))) }}, nil)
	_, quiet := adopt(t, p, &hooks{data: echo}, nil)
	stop := make(chan struct{})
	shouting := make(chan struct{})
	var sent int64
	go func() {
		defer close(shouting)
		b := make([]byte, 1<<20)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, err := loud.Write(b)
			sent += int64(n)
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for range 200 {
		if _, err := quiet.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		expect(t, quiet, "x")
	}
	close(stop)
	<-shouting
	loud.CloseWrite()
	if _, err := loud.Read(make([]byte, 1)); err != io.EOF { // the poller closes when it has taken everything
		t.Error(err)
	}
	if taken.Load() != sent {
		t.Errorf("%d bytes arrived of %d", taken.Load(), sent)
	}
}

// Do runs on the loop, after the callback that asked for it.
func TestDo(t *testing.T) {
	p := newPoller(t, 1)
	var inside bool // needs no lock: one loop
	_, client := adopt(t, p, &hooks{data: func(c *poller.Conn, b []byte) {
		inside = true
		c.Do(func() {
			if inside {
				t.Error("Do ran within the callback")
			}
			_, _ = c.Write([]byte("done"))
		})
		inside = false
	}}, nil)
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	expect(t, client, "done")
}

func TestAddresses(t *testing.T) {
	p := newPoller(t, 1)
	over, ended := closing()
	c, client := adopt(t, p, &hooks{closed: over}, nil)
	if got, want := c.RemoteAddr().String(), client.LocalAddr().String(); got != want {
		t.Errorf("remote %s, want %s", got, want)
	}
	if got, want := c.LocalAddr().String(), client.RemoteAddr().String(); got != want {
		t.Errorf("local %s, want %s", got, want)
	}
	c.Abort()
	<-ended
	if a := c.RemoteAddr(); a.IsValid() {
		t.Errorf("remote %v after the end", a)
	}
}

// A connection that net/http has given away can go back to it, with the bytes
// of the next request that were read ahead.
func TestDetach(t *testing.T) {
	p := newPoller(t, 1)
	back := make(chan net.Conn, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/held" {
			fmt.Fprint(w, r.URL.Path)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		early := make([]byte, rw.Reader.Buffered())
		if _, err := io.ReadFull(rw, early); err != nil {
			t.Error(err)
		}
		c, err := p.Adopt(conn, &hooks{
			data: func(c *poller.Conn, b []byte) {
				conn, err := c.Detach(b)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := c.Write(b); err != net.ErrClosed {
					t.Errorf("Write after Detach: %v", err)
				}
				back <- conn
			},
			closed: func(_ *poller.Conn, err error) { t.Errorf("Closed was called: %v", err) },
		}, nil, early)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld")); err != nil {
			t.Error(err)
		}
		if err := c.Start(); err != nil {
			t.Error(err)
		}
	})}
	d := newDialer(t)
	accepted, client := d.pair()
	back <- accepted
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(both{d.ln, back}) }()
	defer func() {
		close(back)
		<-serving
		server.Close()
	}()
	r := bufio.NewReader(client)
	for _, path := range []string{"/one", "/held", "/next", "/held", "/last"} {
		if _, err := io.WriteString(client, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != strings.ReplaceAll(path, "/held", "held") {
			t.Fatalf("%s: %q, %v", path, body, err)
		}
	}
}

// both is a listener that gives the connections that come back, too.
type both struct {
	net.Listener
	back chan net.Conn
}

func (b both) Accept() (net.Conn, error) {
	if conn, ok := <-b.back; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

// What is not plain TCP can still be served by a goroutine.
func TestAdoptOther(t *testing.T) {
	p := newPoller(t, 1)
	conn, peer := net.Pipe()
	defer conn.Close()
	defer peer.Close()
	if _, err := p.Adopt(conn, &hooks{}, nil, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Fatal(err)
	}
	go func() { _, _ = peer.Write([]byte("x")) }()
	expect(t, conn, "x")
}

// Bytes that were read ahead come first, whoever reads.
func TestDetachReplay(t *testing.T) {
	for name, read := range map[string]func(net.Conn) ([]byte, error){
		"Read": func(c net.Conn) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{c}) },
		"WriteTo": func(c net.Conn) ([]byte, error) {
			var b strings.Builder
			_, err := io.Copy(&b, c)
			return []byte(b.String()), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPoller(t, 1)
			back := make(chan net.Conn, 1)
			_, client := adopt(t, p, &hooks{data: func(c *poller.Conn, b []byte) {
				conn, err := c.Detach(b)
				if err != nil {
					t.Error(err)
				}
				back <- conn
			}}, nil)
			if _, err := client.Write([]byte("first ")); err != nil {
				t.Fatal(err)
			}
			conn := <-back
			defer conn.Close()
			if _, err := client.Write([]byte("second")); err != nil {
				t.Fatal(err)
			}
			if err := client.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := read(conn); string(got) != "first second" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := conn.Write([]byte("answer")); err != nil {
				t.Error(err)
			}
			expect(t, client, "answer")
		})
	}
}

// What is pending would be lost: the connection stays.
func TestDetachPending(t *testing.T) {
	p := newPoller(t, 1)
	over, ended := closing()
	refused := make(chan error, 1)
	_, client := adopt(t, p, &hooks{closed: over, data: func(c *poller.Conn, b []byte) {
		if n, err := c.Write(make([]byte, 16<<20)); n == 0 || err != nil {
			t.Error(n, err)
		}
		_, err := c.Detach(b)
		refused <- err
	}}, nil)
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-refused; err == nil || errors.Is(err, net.ErrClosed) {
		t.Errorf("Detach: %v", err)
	}
	if err := client.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	client.Close()
	<-ended
}
