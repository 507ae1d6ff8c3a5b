package poller

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Detach gives the connection back to package net. The bytes of rest, which
// Data was given but did not use, are copied and read first. The handler is not
// called again afterwards.
//
// It fails while something is pending. Then, and after other errors, the
// connection stays as it is.
func (c *Conn) Detach(rest []byte) (net.Conn, error) {
	l := c.loop
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return nil, net.ErrClosed
	}
	if c.backlog == nil && len(l.out) > 0 {
		out := l.out
		l.out = l.out[:0]
		if _, err := c.push(out, nil, true); err != nil {
			return nil, err
		}
	}
	if c.backlog != nil {
		return nil, errors.New("poller: detach: writes are pending")
	}
	conn, err := tcpConn(int(c.fd))
	if err != nil {
		return nil, err
	}
	early := append(append([]byte(nil), rest...), c.takeUnread()...)
	l.unregister(c, int(c.fd))
	_ = unix.Close(int(c.fd)) // conn has a duplicate
	c.fd, c.state = -1, gone
	if len(early) == 0 {
		return conn, nil
	}
	return &replay{TCPConn: conn, early: early}, nil
}

// tcpConn makes a connection of package net from a duplicate of fd.
func tcpConn(fd int) (*net.TCPConn, error) {
	duplicate, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(duplicate), "tcp")
	defer file.Close()
	conn, err := net.FileConn(file) // duplicates once more
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(errors.New("poller: detach: not TCP"), conn.Close())
	}
	return tcp, nil
}

// replay is a connection of which some bytes were read ahead.
type replay struct {
	*net.TCPConn
	early []byte
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.early) == 0 {
		return r.TCPConn.Read(p)
	}
	n := copy(p, r.early)
	if r.early = r.early[n:]; len(r.early) == 0 {
		r.early = nil
	}
	return n, nil
}

// WriteTo hides that of the TCPConn, which knows nothing of the early bytes.
func (r *replay) WriteTo(w io.Writer) (int64, error) {
	// bytes.Reader writes all or says why not.
	n, err := bytes.NewReader(r.early).WriteTo(w)
	if r.early = r.early[n:]; err != nil {
		return n, err
	}
	m, err := r.TCPConn.WriteTo(w)
	return n + m, err
}
