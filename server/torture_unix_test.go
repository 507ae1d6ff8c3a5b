//go:build unix

package server_test

import "syscall"

func init() {
	smallReceiver = func(conn syscall.RawConn, bytes int) error {
		var failed error
		err := conn.Control(func(fd uintptr) {
			failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, bytes)
		})
		if err != nil {
			return err
		}
		return failed
	}
}
