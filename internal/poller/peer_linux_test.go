package poller_test

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/poller"
	"github.com/duplexhq/duplex/internal/testnet"
)

// Who has closed his side may still read: what is written because of that, or
// later.
func TestHalfClosed(t *testing.T) {
	for _, later := range []bool{false, true} {
		closed, over := closing()
		h := &hooks{closed: closed, half: func(c *poller.Conn) bool {
			farewell := func() { _, _ = c.Write([]byte("farewell")) }
			if !later {
				farewell()
			} else {
				go func() { farewell(); c.Close() }()
			}
			return later
		}}
		_, client := adopt(t, newPoller(t, 1), h, nil)
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(client); string(got) != "farewell" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if err := <-over; later && err != net.ErrClosed || !later && err != io.EOF {
			t.Error(err)
		}
	}
}

// What the kernel has for a peer is not taken back from it when the time for
// its FIN is over.
func TestCloseLeavesTheRestToTheKernel(t *testing.T) {
	closed, over := closing()
	limits := &poller.Limits{CloseTimeout: 100 * time.Millisecond, SendBuffer: 256 << 10}
	c, client := adopt(t, newPoller(t, 1), &hooks{closed: closed}, limits)
	if err := client.SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	const size = 1 << 20
	if _, err := c.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	// It takes longer than CloseTimeout, but moves.
	buf, total, ended := make([]byte, 32<<10), 0, over
	for {
		n, err := client.Read(buf)
		if total += n; err != nil {
			if err != io.EOF || total != size {
				t.Errorf("%d bytes, %v", total, err)
			}
			break
		}
		if total > size*3/4 && ended != nil {
			<-ended // the rest is the kernel's alone
			ended = nil
		}
	}
}

func TestAcknowledged(t *testing.T) {
	c, client := adopt(t, newPoller(t, 1), &hooks{}, nil)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { all, _ := c.Acknowledged(); return all })
	testnet.Unplug(t, client)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if all, _ := c.Acknowledged(); all {
		t.Error("a peer that is out of reach has acknowledged")
	}
	eventually(t, func() bool { _, last := c.Acknowledged(); return last > 50*time.Millisecond })
}

// eventually waits until it is true.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("it never happens")
		}
	}
}
