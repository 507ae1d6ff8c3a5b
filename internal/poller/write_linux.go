package poller

import (
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Write sends the chunks, one after the other, and tells how many bytes are
// pending: those that the kernel did not take, of this and of earlier calls.
// If it is 0, the chunks are free. Else the connection keeps references to
// them: they must not be changed before the handler's Drained is called, which
// says that nothing is pending any more.
//
// There is no bound: who writes does not go on while too much is pending. If
// Write fails, the connection is over, and the handler's Closed follows.
func (c *Conn) Write(chunks ...[]byte) (pending int, err error) { return c.write(chunks, false) }

// WriteLent is like Write, but copies what it has to keep: the chunks are free
// when it returns. It is meant for bytes of the read buffer.
func (c *Conn) WriteLent(chunks ...[]byte) (pending int, err error) { return c.write(chunks, true) }

const (
	// outBytes is how much the writes of one callback may put together.
	outBytes = 64 << 10
	// direct is the size from which a copy costs more than the system call
	// that it could save.
	direct = 16 << 10
)

func (c *Conn) write(chunks [][]byte, lent bool) (int, error) {
	size := 0
	for _, p := range chunks {
		size += len(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return 0, net.ErrClosed
	}
	switch {
	case c.backlog != nil:
		c.backlog.add(chunks, 0, lent)
		return c.backlog.bytes, nil
	case !c.corked:
		return c.push(nil, chunks, lent)
	}
	// The loop corks one connection at a time, and whoever comes here holds
	// that one's lock: so loop.out is his.
	l := c.loop
	if size < direct && len(l.out)+size <= cap(l.out) {
		for _, p := range chunks {
			l.out = append(l.out, p...)
		}
		return 0, nil
	}
	out := l.out
	l.out = l.out[:0]
	return c.push(out, chunks, lent)
}

// push sends out, which is lent, and the chunks. What is not taken becomes the
// backlog. The caller holds mu, and there is no backlog.
func (c *Conn) push(out []byte, chunks [][]byte, lent bool) (pending int, err error) {
	// The call cannot block, so the lock may be held.
	taken, errno := Send(int(c.fd), out, chunks)
	switch errno {
	case 0:
		return 0, nil
	case unix.EAGAIN:
		b := backlogs.Get().(*backlog)
		if taken < len(out) {
			b.keep(append([]byte(nil), out[taken:]...))
		}
		b.add(chunks, max(taken-len(out), 0), lent)
		c.backlog = b
		c.stalled = c.loop.poller.tick()
		c.post(command{kind: cmdArm, conn: c})
		return b.bytes, nil
	}
	err = os.NewSyscallError("send", errno)
	c.fail(err)
	return 0, err
}

// fail ends a connection after an error of the kernel. The caller holds mu.
func (c *Conn) fail(err error) {
	if c.started { // else the loop will meet the error when it polls the first time
		c.abort(err)
	}
}

// flush sends of the backlog what the kernel takes, and reports whether that
// was all. The caller holds mu.
func (c *Conn) flush() (drained bool) {
	b := c.backlog
	if b == nil || c.state >= aborting {
		return false
	}
	taken, errno := Send(int(c.fd), nil, b.chunks[b.first:])
	if errno != 0 && errno != unix.EAGAIN {
		c.fail(os.NewSyscallError("send", errno))
		return false
	}
	b.drop(taken)
	if taken > 0 {
		c.stalled = c.loop.poller.tick()
	}
	if b.bytes > 0 {
		return false
	}
	c.forgetBacklog()
	return true
}

func (c *Conn) forgetBacklog() {
	if c.backlog != nil {
		c.backlog.release()
		c.backlog, c.stalled = nil, 0
	}
}

// finishWrites sends FIN when a closing connection has nothing pending. The
// caller holds mu.
func (c *Conn) finishWrites() {
	if c.state == closing && c.backlog == nil && !c.shut {
		c.shut = true
		c.ending.by = c.loop.poller.tick() + ticks(c.limits.closeTimeout())
		// ENOTCONN after a reset: the loop receives it.
		_ = unix.Shutdown(int(c.fd), syscall.SHUT_WR)
	}
}

// A backlog is what a connection keeps of the writes that its peer is too slow
// for.
type backlog struct {
	chunks [][]byte
	first  int // those before it are sent
	bytes  int
}

var backlogs = sync.Pool{New: func() any { return new(backlog) }}

// add keeps the chunks without their first bytes, which were sent.
func (b *backlog) add(chunks [][]byte, sent int, lent bool) {
	for _, p := range chunks {
		if sent >= len(p) {
			sent -= len(p)
			continue
		}
		p, sent = p[sent:], 0
		if lent {
			p = append([]byte(nil), p...)
		}
		b.keep(p)
	}
}

func (b *backlog) keep(p []byte) {
	if b.first > 0 && len(b.chunks) == cap(b.chunks) { // before it grows
		n := copy(b.chunks, b.chunks[b.first:])
		clear(b.chunks[n:])
		b.chunks, b.first = b.chunks[:n], 0
	}
	b.chunks = append(b.chunks, p)
	b.bytes += len(p)
}

// drop forgets n bytes.
func (b *backlog) drop(n int) {
	b.bytes -= n
	for n > 0 {
		p := &b.chunks[b.first]
		if n < len(*p) {
			*p = (*p)[n:]
			return
		}
		n -= len(*p)
		*p = nil
		b.first++
	}
}

// release gives an empty list back to the pool, unless it has become long.
func (b *backlog) release() {
	const keep = 256
	if cap(b.chunks) > keep {
		return
	}
	clear(b.chunks)
	b.chunks, b.first, b.bytes = b.chunks[:0], 0, 0
	backlogs.Put(b)
}
