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
	since   func() time.Duration // it has started
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
	started := time.Now()
	p := &Poller{started: started, since: func() time.Duration { return time.Since(started) }}
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

// Prepare is [Poller.Prepare] of the shared poller.
func Prepare(conn net.Conn) (*Spare, error) {
	if !Adoptable(conn) {
		return nil, unsupported(conn)
	}
	p, err := shared()
	if err != nil {
		return nil, err
	}
	return p.Prepare(conn)
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
	spare, err := p.Prepare(conn)
	if err != nil {
		if Adoptable(conn) {
			conn.Close()
		}
		return nil, err
	}
	return spare.Adopt(h, limits, early)
}

// A Spare is what it takes to adopt a connection: Adopt or Release it.
type Spare struct {
	poller *Poller
	conn   *net.TCPConn
	early  []byte // that the connection would have given first
	fd     int
}

// Prepare gets what Adopt needs, and leaves the connection as it is: for who
// can still do without, if the process has no descriptor left.
func (p *Poller) Prepare(conn net.Conn) (*Spare, error) {
	s := &Spare{poller: p}
	switch conn := conn.(type) {
	case *net.TCPConn:
		s.conn = conn
	case *replay:
		s.conn, s.early = conn.TCPConn, conn.early
	default:
		return nil, unsupported(conn)
	}
	if p.closed.Load() {
		return nil, net.ErrClosed
	}
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	// net registered the descriptor with the runtime, which cannot be undone
	// but by closing it: so the poller goes on with a duplicate. O_NONBLOCK
	// belongs to what both share.
	var failure error
	if err := raw.Control(func(of uintptr) {
		s.fd, failure = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return nil, err
	}
	if failure != nil {
		return nil, fmt.Errorf("poller: duplicate: %w", failure)
	}
	return s, nil
}

// Release leaves the connection to whoever has it.
func (s *Spare) Release() { _ = unix.Close(s.fd) } // no data behind it: nothing to lose

// Adopt is [Poller.Adopt] of the connection.
func (s *Spare) Adopt(h Handler, limits *Limits, early []byte) (*Conn, error) {
	defer s.conn.Close()
	if limits != nil && limits.SendBuffer > 0 {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, limits.SendBuffer); err != nil {
			return nil, errors.Join(fmt.Errorf("poller: SO_SNDBUF: %w", err), unix.Close(s.fd))
		}
	}
	early = append(early, s.early...)
	c := &Conn{loop: s.poller.idlest(), handler: h, limits: limits, fd: int32(s.fd), paused: true}
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
func (p *Poller) tick() uint32 { return uint32(p.since()/Resolution) + 1 }

// timeOf gives the time at which a tick begins.
func (p *Poller) timeOf(tick uint32) time.Time {
	return p.started.Add(time.Duration(tick-1) * Resolution)
}

// ticks rounds up, and adds the grain that is already running.
func ticks(d time.Duration) uint32 {
	const longest = 1 << 30 // more than three years
	return uint32(min((d+Resolution-1)/Resolution, longest)) + 1
}
