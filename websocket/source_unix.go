//go:build unix

package websocket

import (
	"io"
	"net"
	"os"
	"syscall"
)

// direct reads and writes a socket without blocking, and holds no buffer while it waits for it to
// become readable.
type direct struct {
	raw     syscall.RawConn
	attempt func(fd uintptr) bool // try, made once: a method value allocates
	buffer  *buffer
	n       int
	err     error
}

// newDirect gives nil unless conn is a plain socket. A type that embeds one may have a Read of
// its own.
func newDirect(conn net.Conn) *direct {
	var raw syscall.RawConn
	var err error
	switch conn := conn.(type) {
	case *net.TCPConn:
		raw, err = conn.SyscallConn()
	case *net.UnixConn:
		raw, err = conn.SyscallConn()
	default:
		return nil
	}
	if err != nil {
		return nil
	}
	d := &direct{raw: raw}
	d.attempt = d.try
	return d
}

// read waits for bytes, and reads them into *b, which it borrows if it is nil.
func (d *direct) read(b **buffer) ([]byte, error) {
	if d.buffer, d.n, d.err = *b, 0, nil; d.buffer == nil {
		d.buffer = buffers.Get().(*buffer) // try would, too, but with less of a small stack left
	}
	err := d.raw.Read(d.attempt)
	if err == nil {
		err = d.err
	}
	*b = d.buffer
	d.buffer = nil
	if d.n == 0 {
		return nil, err
	}
	return (*b)[:d.n], err
}

// try reads once, and reports false if there is nothing to read. RawConn.Read calls it before it
// waits too: a wake-up that came earlier is not lost.
func (d *direct) try(fd uintptr) bool {
	if d.buffer == nil {
		d.buffer = buffers.Get().(*buffer)
	}
	n, errno := receive(int(fd), d.buffer[:])
	switch {
	case errno == syscall.EAGAIN:
		buffers.Put(d.buffer)
		d.buffer = nil
		return false
	case errno != 0:
		d.err = os.NewSyscallError("read", errno)
	case n == 0:
		d.err = io.EOF
	default:
		d.n = n
	}
	return true
}
