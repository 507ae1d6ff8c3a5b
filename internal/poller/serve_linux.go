package poller

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// serve handles an event.
func (l *loop) serve(c *Conn, events uint32) {
	const ends = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	if events&(unix.EPOLLIN|ends) != 0 {
		c.readable = true
	}
	if events&ends != 0 {
		c.ended = true
	}
	drained := l.cork(c, events&unix.EPOLLOUT != 0)
	if drained {
		c.received = l.now
		l.arm(c)
		c.call(func() { c.handler.Drained(c) })
	}
	if c.paused && events&unix.EPOLLERR != 0 {
		l.fail(c, l.socketError(c))
	}
	l.read(c)
	l.settle(c)
}

// serveAgain goes on with those that had more to give than their share.
func (l *loop) serveAgain() {
	l.again, l.serving = l.serving[:0], l.again
	for _, c := range l.serving {
		if c.queued = false; c.slot != 0 {
			l.cork(c, false)
			l.read(c)
			l.settle(c)
		}
	}
	clear(l.serving)
}

// resume reads after a pause.
func (l *loop) resume(c *Conn) {
	if c.slot == 0 {
		return
	}
	c.paused = false
	c.received = l.now
	l.arm(c)
	l.cork(c, false)
	if rest := c.takeUnread(); len(rest) > 0 && c.isOpen() {
		c.data(rest)
	}
	l.read(c)
	l.settle(c)
}

func (c *Conn) takeUnread() []byte {
	p := c.unread
	if p == nil {
		return nil
	}
	c.unread = nil
	return *p
}

// cork begins a callback. If the kernel has room, the backlog goes on before,
// and cork reports whether it is done.
func (l *loop) cork(c *Conn, room bool) (drained bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.corked = true
	return room && c.flush() && c.state == open
}

// read receives until there is nothing more, or the connection had its share.
func (l *loop) read(c *Conn) {
	for range receivesPerTurn {
		if c.paused || !c.readable || c.eof || c.slot == 0 {
			return
		}
		n, errno := Receive(int(c.fd), l.in)
		switch {
		case errno == unix.EAGAIN:
			c.readable = false
			return
		case errno != 0:
			c.eof = true
			l.fail(c, os.NewSyscallError("recv", errno))
			return
		case n == 0:
			c.eof = true
			goOn := c.isOpen() && c.halfClosed()
			c.mu.Lock()
			if c.state == open && !goOn { // what is pending may still be wanted: FIN ends one direction only
				c.beginClose(io.EOF)
			}
			c.mu.Unlock()
			return
		}
		c.readable = c.ended || n == len(l.in)
		c.received = l.now
		if c.discard {
			continue
		}
		c.data(l.in[:n:n])
		if c.readable && !c.isOpen() {
			return // the command of whoever ended it goes on
		}
	}
	if c.readable && !c.paused && !c.queued {
		c.queued = true
		l.again = append(l.again, c)
	}
}

// settle ends a callback: it sends what was written, and releases the
// connection if it has come to its end.
func (l *loop) settle(c *Conn) {
	c.mu.Lock()
	c.corked = false
	if len(l.out) > 0 {
		if c.state < aborting {
			_, _ = c.push(l.out, nil, true) // an error shows in the state
		}
		l.out = l.out[:0]
	}
	over := c.state == aborting || c.state == closing && c.eof && c.backlog == nil
	if !over {
		c.finishWrites()
	}
	waiting := c.state == closing && !over
	c.mu.Unlock()
	switch {
	case over:
		l.release(c)
	case waiting:
		l.arm(c)
	}
}

// release closes a connection that has come to its end.
func (l *loop) release(c *Conn) {
	c.mu.Lock()
	fd, cause := int(c.fd), c.ending.cause
	if c.state == aborting {
		reset(fd)
	}
	c.fd, c.state = -1, gone
	c.forgetBacklog()
	c.mu.Unlock()
	l.unregister(c, fd)
	_ = unix.Close(fd) // an error would be that of earlier writes
	c.unread = nil
	c.call(func() { c.handler.Closed(c, cause) })
}

// fail ends a connection at the next settle.
func (l *loop) fail(c *Conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == open {
		c.ending = &ending{cause: err}
	}
	if c.state < aborting {
		c.state = aborting
	}
}

func (l *loop) socketError(c *Conn) error {
	code, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || code == 0 {
		return unix.ECONNRESET
	}
	return syscall.Errno(code)
}

func (c *Conn) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == open
}

func (c *Conn) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == gone
}
