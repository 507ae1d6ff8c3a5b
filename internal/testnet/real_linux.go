package testnet

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Unplug lets nothing reach the socket any more, as if its cable were cut.
func Unplug(t testing.TB, conn *net.TCPConn) {
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
