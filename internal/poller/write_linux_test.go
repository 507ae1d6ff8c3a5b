package poller_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/duplexhq/duplex/internal/poller"
)

// Everything a connection writes in a callback leaves in one segment.
func TestCork(t *testing.T) {
	p := newPoller(t, 1)
	answered := make(chan struct{}, 1)
	_, client := adopt(t, p, &hooks{data: func(c *poller.Conn, b []byte) {
		for i := range b {
			if n, err := c.WriteLent(b[i:i+1], []byte("-")); n != 0 || err != nil {
				t.Error(n, err)
			}
			b[i] = '!' // lent bytes are free again
		}
		answered <- struct{}{}
	}}, nil)
	if _, err := client.Write([]byte("abcdefghij")); err != nil {
		t.Fatal(err)
	}
	<-answered
	expect(t, client, "a-b-c-d-e-f-g-h-i-j-")
	if n := segments(t, client); n != 1 {
		t.Errorf("the answers came in %d segments, want 1", n)
	}
}

// What is too long to be put together follows what was written before it.
func TestCorkOrder(t *testing.T) {
	p := newPoller(t, 1)
	long := bytes.Repeat([]byte("x"), 200<<10)
	_, client := adopt(t, p, &hooks{data: func(c *poller.Conn, b []byte) {
		for _, chunk := range [][]byte{b, long, []byte("after"), long, []byte("end")} {
			if _, err := c.Write(append([]byte(nil), chunk...)); err != nil {
				t.Error(err)
			}
		}
		c.Close() // sends what was written
	}}, nil)
	if _, err := client.Write([]byte("before")); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(client)
	want := "before" + string(long) + "after" + string(long) + "end"
	if err != nil || string(got) != want {
		t.Fatalf("got %d bytes of %d, %v", len(got), len(want), err)
	}
}

func segments(t *testing.T, conn *net.TCPConn) uint32 {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	var failure error
	if err := raw.Control(func(fd uintptr) {
		info, failure = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); err != nil || failure != nil {
		t.Fatal(err, failure)
	}
	return info.Data_segs_in
}

// Many goroutines write to a peer that reads slowly: each write arrives whole,
// those of a goroutine in order.
func TestWriters(t *testing.T) {
	p := newPoller(t, 2)
	const writers, each = 8, 200
	var (
		mu      sync.Mutex
		drained = 1 // guarded by mu; 0 when the reader has stopped
		changed = sync.NewCond(&mu)
	)
	c, client := adopt(t, p, &hooks{drained: func(*poller.Conn) {
		mu.Lock()
		defer mu.Unlock()
		drained++
		changed.Broadcast()
	}}, &poller.Limits{SendBuffer: 64 << 10})
	r := random(t)
	var writing sync.WaitGroup
	for w := range writers {
		size := 100 + r.IntN(8000)
		writing.Go(func() {
			for i := range each {
				mu.Lock()
				seen := drained
				mu.Unlock()
				body := bytes.Repeat([]byte{byte(w)}, size)
				header := make([]byte, 0, 12)
				header = binary.BigEndian.AppendUint32(header, uint32(w))
				header = binary.BigEndian.AppendUint32(header, uint32(i))
				header = binary.BigEndian.AppendUint32(header, uint32(size))
				var pending int
				var err error
				if i%2 == 0 {
					pending, err = c.Write(header, body[:size/2], nil, body[size/2:])
				} else {
					pending, err = c.WriteLent(header, body)
					clear(body)
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for pending > 256<<10 && drained == seen {
					changed.Wait()
				}
				mu.Unlock()
			}
		})
	}
	var next [writers]uint32
	header, body := make([]byte, 12), make([]byte, 8100)
	for range writers * each {
		if _, err := io.ReadFull(client, header); err != nil {
			t.Error(err)
			break
		}
		w, i, size := binary.BigEndian.Uint32(header), binary.BigEndian.Uint32(header[4:]), binary.BigEndian.Uint32(header[8:])
		if w >= writers || i != next[w] || size > 8100 {
			t.Errorf("writer %d, message %d of %d bytes", w, i, size)
			break
		}
		next[w]++
		if _, err := io.ReadFull(client, body[:size]); err != nil {
			t.Error(err)
			break
		}
		for _, b := range body[:size] {
			if b != byte(w) {
				t.Fatalf("a byte of %d in a message of %d", b, w)
			}
		}
	}
	c.Abort() // if the reader has failed, the writers must not wait for it
	mu.Lock()
	drained = 0
	changed.Broadcast()
	mu.Unlock()
	writing.Wait()
}

// Write says what is pending, Drained that nothing is, and then Write may go on.
func TestPending(t *testing.T) {
	p := newPoller(t, 1)
	drained := make(chan struct{}, 10)
	c, client := adopt(t, p, &hooks{drained: func(*poller.Conn) { drained <- struct{}{} }}, nil)
	if n, err := c.Write([]byte("a"), []byte("b")); n != 0 || err != nil {
		t.Fatalf("a small write: %d bytes pending, %v", n, err)
	}
	expect(t, client, "ab")
	big := make([]byte, 16<<20) // more than the kernel takes
	pending, err := c.Write(big)
	if pending == 0 || err != nil {
		t.Fatalf("a big write: %d bytes pending, %v", pending, err)
	}
	if n, err := c.Write([]byte("more")); n <= len("more") || n > pending+len("more") || err != nil {
		t.Fatalf("%d bytes pending, %v, after %d", n, err, pending)
	}
	if _, err := io.CopyN(io.Discard, client, int64(len(big)+len("more"))); err != nil {
		t.Fatal(err)
	}
	<-drained
	if n, err := c.Write([]byte("next")); n != 0 || err != nil {
		t.Fatalf("after Drained: %d bytes pending, %v", n, err)
	}
	expect(t, client, "next")
	if len(drained) != 0 {
		t.Error("Drained was called twice")
	}
}

// What WriteLent could not send is its own copy; what Write could not send is
// not.
func TestLent(t *testing.T) {
	for name, lent := range map[string]bool{"Write": false, "WriteLent": true} {
		t.Run(name, func(t *testing.T) {
			p := newPoller(t, 1)
			c, client := adopt(t, p, &hooks{}, nil)
			big := make([]byte, 16<<20)
			write := c.Write
			if lent {
				write = c.WriteLent
			}
			pending, err := write(big)
			if pending == 0 || err != nil {
				t.Fatal(pending, err)
			}
			big[len(big)-1] = 1 // nobody reads yet, so it is still here
			got := make([]byte, len(big))
			if _, err := io.ReadFull(client, got); err != nil {
				t.Fatal(err)
			}
			if copied := got[len(got)-1] == 0; copied != lent {
				t.Errorf("copied: %v", copied)
			}
		})
	}
}

// Close sends what is pending, then FIN, and waits for the peer's FIN.
func TestCloseSendsPending(t *testing.T) {
	p := newPoller(t, 1)
	over, ended := closing()
	c, client := adopt(t, p, &hooks{closed: over}, &poller.Limits{CloseTimeout: time.Hour})
	if n, err := c.Write(make([]byte, 8<<20)); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	c.Close()
	if _, err := c.Write([]byte("late")); err != net.ErrClosed {
		t.Errorf("Write after Close: %v", err)
	}
	if _, err := client.Write([]byte("nobody wants this")); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(client); len(got) != 8<<20 || err != nil {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	select {
	case err := <-ended:
		t.Errorf("closed before the peer's FIN: %v", err)
	default:
	}
	client.Close()
	if err := <-ended; err != net.ErrClosed {
		t.Errorf("closed with %v", err)
	}
}

// A peer that is gone shows in a write, or in what is received.
func TestWriteToReset(t *testing.T) {
	p := newPoller(t, 1)
	over, ended := closing()
	c, client := adopt(t, p, &hooks{closed: over}, nil)
	c.Do(func() { c.Pause(nil) })
	if err := client.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	client.Close()
	for {
		if _, err := c.Write([]byte("x")); err != nil {
			break
		}
	}
	if err := <-ended; !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
		t.Errorf("closed with %v", err)
	}
	if _, err := c.Write([]byte("x")); err != net.ErrClosed {
		t.Errorf("Write after the end: %v", err)
	}
}

// A delivery allocates nothing: neither in one piece nor in several, sent at
// once or pending.
func TestWriteAllocations(t *testing.T) {
	p := newPoller(t, 1)
	c, client := adopt(t, p, &hooks{}, nil)
	one, three := [][]byte{[]byte("some bytes")}, [][]byte{[]byte("some"), []byte("more"), []byte("bytes")}
	measure := func(what string) {
		t.Helper()
		for _, chunks := range [][][]byte{one, three} {
			if n := testing.AllocsPerRun(100, func() {
				if _, err := c.Write(chunks...); err != nil {
					t.Error(err)
				}
			}); n != 0 {
				t.Errorf("%s, %d pieces: %v allocations", what, len(chunks), n)
			}
		}
	}
	measure("at once")
	if _, err := io.CopyN(io.Discard, client, 101*(10+13)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Write(make([]byte, 16<<20)); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	for range 2000 { // the list has grown
		if _, err := c.Write(one...); err != nil {
			t.Fatal(err)
		}
	}
	measure("pending")
}
