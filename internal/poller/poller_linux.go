package poller

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Poller drives connections. Its methods may be called by any goroutine.
type Poller struct {
	started time.Time
	loops   []*loop
	running sync.WaitGroup // the loops
	closed  atomic.Bool
}

// New starts a poller with that many loops; zero or less is GOMAXPROCS. It
// must be closed.
func New(loops int) (*Poller, error) {
	if loops <= 0 {
		loops = runtime.GOMAXPROCS(0)
	}
	p := &Poller{started: time.Now()}
	for range loops {
		l, err := newLoop(p)
		if err != nil {
			for _, l := range p.loops {
				l.close()
			}
			return nil, fmt.Errorf("poller: %w", err)
		}
		p.loops = append(p.loops, l)
	}
	for _, l := range p.loops {
		p.running.Go(l.run) // Ends when l.stop was called. Joined by Close.
	}
	return p, nil
}

// Close ends all connections as Abort does, and returns when no handler will
// be called again. It must not be called by a handler.
func (p *Poller) Close() {
	p.closed.Store(true)
	for _, l := range p.loops {
		l.stop()
	}
	p.running.Wait()
}

// Adoptable reports whether Adopt takes a connection like this one.
func Adoptable(conn net.Conn) bool {
	switch conn.(type) {
	case *net.TCPConn, *replay:
		return true
	}
	return false
}

// shared is never closed: loops without work wait, as the runtime's own do.
var shared = sync.OnceValues(func() (*Poller, error) { return New(0) })

// Adopt is [Poller.Adopt] by a poller that the whole process shares. It starts
// with its first connection.
func Adopt(conn net.Conn, h Handler, limits *Limits, early []byte) (*Conn, error) {
	if !Adoptable(conn) {
		return nil, unsupported(conn)
	}
	p, err := shared()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return p.Adopt(conn, h, limits, early)
}

func unsupported(conn net.Conn) error {
	return fmt.Errorf("poller: %T: %w", conn, errors.ErrUnsupported)
}

// Adopt takes a connection over, if it is a *net.TCPConn or came from Detach;
// else it fails with errors.ErrUnsupported and leaves it alone. In all other
// cases, conn is closed. No handler is called before Start, so that what
// belongs to it can be put in order first; without Start, Close or Abort, the
// connection stays as it is.
//
// The bytes in early were read from conn by someone else. They are the first
// that Data is given, and belong to the poller. Nil limits are the defaults.
func (p *Poller) Adopt(conn net.Conn, h Handler, limits *Limits, early []byte) (*Conn, error) {
	var tcp *net.TCPConn
	switch conn := conn.(type) {
	case *net.TCPConn:
		tcp = conn
	case *replay:
		tcp, early = conn.TCPConn, append(early, conn.early...)
	default:
		return nil, unsupported(conn)
	}
	// net registered tcp's descriptor with the runtime, which cannot be
	// undone but by closing it: so the poller goes on with a duplicate.
	// O_NONBLOCK belongs to what both share.
	defer tcp.Close()
	if p.closed.Load() {
		return nil, net.ErrClosed
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failure error
	if err := raw.Control(func(of uintptr) {
		fd, failure = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return nil, err
	}
	if failure != nil {
		return nil, fmt.Errorf("poller: duplicate: %w", failure)
	}
	if limits != nil && limits.SendBuffer > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, limits.SendBuffer); err != nil {
			return nil, errors.Join(fmt.Errorf("poller: SO_SNDBUF: %w", err), unix.Close(fd))
		}
	}
	c := &Conn{loop: p.idlest(), handler: h, limits: limits, fd: int32(fd), paused: true}
	if len(early) > 0 {
		c.unread = new(early)
	}
	return c, nil
}

// idlest gives the loop that has the fewest connections.
func (p *Poller) idlest() *loop {
	best := p.loops[0]
	for _, l := range p.loops[1:] {
		if l.load.Load() < best.load.Load() {
			best = l
		}
	}
	best.load.Add(1)
	return best
}

// tick is the present time in grains of Resolution; it is never 0.
func (p *Poller) tick() uint32 { return uint32(time.Since(p.started)/Resolution) + 1 }

// timeOf gives the time at which a tick begins.
func (p *Poller) timeOf(tick uint32) time.Time {
	return p.started.Add(time.Duration(tick-1) * Resolution)
}

// ticks rounds up, and adds the grain that is already running.
func ticks(d time.Duration) uint32 {
	const longest = 1 << 30 // more than three years
	return uint32(min((d+Resolution-1)/Resolution, longest)) + 1
}
