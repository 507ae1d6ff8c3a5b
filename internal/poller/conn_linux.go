package poller

import (
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Conn is a connection that a Poller drives. Its methods may be called by any
// goroutine, except Pause and Detach, which belong to its loop: to the handler
// and to what Do runs.
type Conn struct {
	loop    *loop
	handler Handler
	limits  *Limits

	// The loop owns these.
	unread     *[]byte // to be given before anything is received; or nil
	prev, next int32   // slots of the neighbours in the wheel; 0 if there is none
	due        uint32  // tick at which the wheel has it; 0 if it has not
	received   uint32  // tick of the last byte, or of the last resumption
	idle       uint32  // ticks after which it is idle; 0 is no limit
	alarm      uint32  // tick of the alarm; 0 if none is set
	slot       int32   // index into loop.slots; 0 if it is not there
	paused     bool
	readable   bool // there may be more to receive than was
	ended      bool // the peer sent FIN or RST: receive until it shows
	eof        bool // it has shown
	discard    bool // what arrives is not wanted any more
	queued     bool // it stands in loop.again

	mu      sync.Mutex // guards what follows, and system calls on fd other than the loop's receive
	state   state
	started bool   // the loop knows it, and will release it
	corked  bool   // a callback is running: writes go to loop.out
	shut    bool   // our FIN is sent
	fd      int32  // changed by the loop only
	stalled uint32 // tick since which the kernel has taken nothing of the backlog
	backlog *backlog
	ending  *ending // nil while it is open
}

type ending struct {
	cause error
	by    uint32 // tick at which closing ends; 0 if it is not closing
}

// A state is how far a connection has come to its end.
type state uint8

const (
	open state = iota
	// closing: no more is written. The loop sends what is pending, then FIN,
	// and waits for the peer's. Entered by Close, or when the peer's FIN came.
	closing
	// aborting: the loop will reset the connection in this turn. Entered by
	// Abort, and by errors and time limits.
	aborting
	// gone: closed or detached. There is no descriptor any more.
	gone
)

// Start lets the loop call the handler: first with the early bytes.
func (c *Conn) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return net.ErrClosed
	}
	c.ask(command{kind: cmdStart, conn: c})
	if c.state != open {
		return net.ErrClosed
	}
	return nil
}

// Pause stops reading: Data is not called until Resume. The bytes of rest are
// copied, and are the first that Data is given then.
//
// While it is paused, a connection is not idle, and only a reset by the peer
// is noticed.
func (c *Conn) Pause(rest []byte) {
	c.paused = true
	if len(rest) > 0 {
		c.unread = new(append([]byte(nil), rest...))
	}
}

// Resume lets the loop read again.
func (c *Conn) Resume() { c.post(command{kind: cmdResume, conn: c}) }

// SetIdle ends the connection with ErrIdle once nothing has arrived for d. While
// something is pending, only Limits.WriteTimeout counts. Zero is no limit.
func (c *Conn) SetIdle(d time.Duration) {
	var idle uint32
	if d > 0 {
		idle = ticks(d)
	}
	c.post(command{kind: cmdIdle, conn: c, ticks: idle})
}

// SetAlarm calls the handler's Alarm once, after d. It replaces the alarm that
// was set; zero removes it.
func (c *Conn) SetAlarm(d time.Duration) {
	var alarm uint32
	if d > 0 {
		alarm = c.loop.poller.tick() + ticks(d)
	}
	c.post(command{kind: cmdAlarm, conn: c, ticks: alarm})
}

// Do calls f on the connection's loop: when the callbacks of the present turn
// are done. It is not called if the poller is closed before. What f writes to
// connections is not put together.
func (c *Conn) Do(f func()) { c.loop.post(command{kind: cmdDo, conn: c, do: f}) }

// Close ends the connection in order: what is pending is sent, then FIN, and
// then the peer's FIN is awaited, for at most Limits.CloseTimeout. What arrives
// meanwhile is dropped. It returns at once; the handler's Closed follows.
func (c *Conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return
	}
	c.beginClose(net.ErrClosed)
	if !c.corked {
		c.finishWrites()
	}
	c.ask(command{kind: cmdClose, conn: c})
}

// Abort ends the connection with RST. It returns at once; the handler's Closed
// follows.
func (c *Conn) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abort(net.ErrClosed)
}

// Acknowledged tells whether the peer's system has all that was sent to it, and
// how long ago it last acknowledged anything, be it only that it has no room.
// If it does not have all now, nor had when asked before, and has acknowledged
// nothing since then, it is dead or out of reach.
func (c *Conn) Acknowledged() (all bool, last time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == gone {
		return true, 0
	}
	unacked, last, errno := acknowledged(int(c.fd))
	if errno != 0 {
		return true, 0 // the loop will tell
	}
	return unacked == 0, last
}

// Acknowledged is the same for a connection that nobody has adopted. It is not ok
// if that cannot be known.
func Acknowledged(conn net.Conn) (all bool, last time.Duration, ok bool) {
	s, isSocket := conn.(syscall.Conn)
	if !isSocket {
		return true, 0, false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return true, 0, false
	}
	var unacked uint32
	errno := unix.Errno(unix.EBADF)
	_ = raw.Control(func(fd uintptr) { unacked, last, errno = acknowledged(int(fd)) }) // then errno says so
	return unacked == 0, last, errno == 0
}

// LocalAddr gives the address of this side; it is not valid once the
// connection is over.
func (c *Conn) LocalAddr() netip.AddrPort { return c.addr(unix.Getsockname) }

// RemoteAddr gives the address of the peer; it is not valid once the
// connection is over.
func (c *Conn) RemoteAddr() netip.AddrPort { return c.addr(unix.Getpeername) }

func (c *Conn) addr(of func(fd int) (unix.Sockaddr, error)) netip.AddrPort {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == gone {
		return netip.AddrPort{}
	}
	sa, err := of(int(c.fd))
	if err != nil {
		return netip.AddrPort{} // the peer has reset it
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr)
		if sa.ZoneId != 0 {
			ip = ip.WithZone(strconv.FormatUint(uint64(sa.ZoneId), 10))
		}
		return netip.AddrPortFrom(ip, uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// beginClose forbids writes. The caller holds mu, and lets the loop settle.
func (c *Conn) beginClose(cause error) {
	c.state, c.ending = closing, &ending{cause: cause}
}

// abort lets the loop reset the connection. The caller holds mu.
func (c *Conn) abort(cause error) {
	if c.state >= aborting {
		return
	}
	if c.state == open {
		c.ending = &ending{cause: cause}
	}
	c.state = aborting
	c.ask(command{kind: cmdSettle, conn: c})
}

// ask posts a command that makes the loop responsible for the connection. If
// there is no loop any more, nobody is: then it ends here. The caller holds mu.
func (c *Conn) ask(cmd command) {
	if c.loop.post(cmd) {
		c.started = true
		return
	}
	if !c.started && c.state != gone {
		_ = unix.Close(int(c.fd)) // nothing was promised to be sent
		c.fd, c.state = -1, gone
		c.loop.load.Add(-1)
	}
}

// post posts a command that is void once the connection is gone.
func (c *Conn) post(cmd command) { c.loop.post(cmd) }
