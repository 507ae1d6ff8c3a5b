package poller_test

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/duplexhq/duplex/internal/poller"
)

// Who has closed his side may still read what is written because of that.
func TestHalfClosed(t *testing.T) {
	closed, over := closing()
	h := &hooks{closed: closed, half: func(c *poller.Conn) { _, _ = c.Write([]byte("farewell")) }}
	_, client := adopt(t, newPoller(t, 1), h, nil)
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); string(got) != "farewell" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := <-over; err != io.EOF {
		t.Error(err)
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
	unplug(t, client)
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

// unplug lets nothing reach the socket any more, as if its cable were cut.
func unplug(t *testing.T, conn *net.TCPConn) {
	t.Helper()
	takesNothing := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failure error
	if err := raw.Control(func(fd uintptr) {
		failure = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &takesNothing})
	}); err != nil || failure != nil {
		t.Fatal(err, failure)
	}
}
