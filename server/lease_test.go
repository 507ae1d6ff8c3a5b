package server

import (
	"errors"
	"net"
	"testing"
)

// Who has come back first is served first, however many follow: else he would
// wait for as long as there are always others.
func TestReturnsInOrder(t *testing.T) {
	returns := newReturns()
	var came []net.Conn
	put := func(n int) {
		for range n {
			conn, peer := net.Pipe()
			peer.Close()
			came = append(came, conn)
			if !returns.put(conn) {
				t.Fatal("nobody is let in")
			}
		}
	}
	accept := func() {
		t.Helper()
		conn, err := returns.Accept()
		if err != nil || unwatched(conn) != came[0] {
			t.Fatalf("another one than the first: %v", err)
		}
		came = came[1:]
	}
	put(3)
	for range 10 {
		accept()
		put(1)
	}
	returns.Close()
	if conn, _ := net.Pipe(); returns.put(conn) {
		t.Error("one was let in after the end")
	}
	for len(came) > 0 {
		accept()
	}
	for range 2 {
		if _, err := returns.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v after the last", err)
		}
	}
}
