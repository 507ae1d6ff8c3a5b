package poller

import (
	"errors"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// inBytes is the size of a loop's read buffer: a WebSocket message of
	// 64 KiB is received in one call.
	inBytes = 128 << 10
	// receivesPerTurn bounds what one connection may have of a turn.
	receivesPerTurn = 4
	// eventsPerTurn bounds how long a connection waits for its loop's next turn.
	eventsPerTurn = 256
)

// interest is what a connection is registered for, once and for all.
//
// Edge-triggered: an event tells of a change, and the loop remembers what it
// has left undone. So pausing, resuming and waiting for room to write need no
// system call, and the kernel does not look again at connections that were
// served. A receive that did not fill its buffer has taken everything; what
// comes later is a new edge. The one exception, TCP's urgent mark, stops a
// receive early; nothing that is served here uses it, and whoever sends it
// delays only his own bytes.
const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// A loop is a goroutine that owns connections.
type loop struct {
	poller *Poller
	epoll  *os.File // the epoll instance, registered with the runtime's poller
	waiter syscall.RawConn
	epfd   int
	wakefd int // an eventfd in slot 0: a write ends the wait
	load   atomic.Int32

	mu      sync.Mutex
	inbox   []command // guarded by mu
	asleep  bool      // guarded by mu: whoever posts has to wake the loop
	stopped bool      // guarded by mu: nothing is posted any more

	// The goroutine owns the rest, except out.
	obeying []command // the inbox's other buffer
	events  [eventsPerTurn]unix.EpollEvent
	count   int     // of events in this turn
	parked  bool    // the wait before this turn
	slots   []*Conn // an event names an index; a slot is filled and emptied between two polls, or emptied while its events are skipped
	free    []int32 // empty slots
	again   []*Conn // those that had their share of the turn
	serving []*Conn // again's other buffer
	now     uint32  // tick in which the turn began
	wheel   wheel
	lookAt  uint32 // the soonest tick that the wheel may have something at; 0 if it is empty
	waitFor uint32 // the tick to which the wait is limited; 0 is no limit
	in      []byte
	out     []byte // what the callback that runs writes; guarded by the corked connection's mu
}

type command struct {
	kind  commandKind
	ticks uint32
	conn  *Conn
	do    func()
}

type commandKind uint8

const (
	cmdStart commandKind = iota
	cmdResume
	cmdIdle
	cmdAlarm
	cmdArm    // a backlog began
	cmdClose  // by Close
	cmdSettle // aborting
	cmdDo
)

func newLoop(p *Poller) (*loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create", err)
	}
	// os.NewFile registers only what is non-blocking.
	if err := unix.SetNonblock(epfd, true); err != nil {
		return nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(epfd))
	}
	l := &loop{
		poller: p,
		epoll:  os.NewFile(uintptr(epfd), "epoll"),
		epfd:   epfd,
		slots:  make([]*Conn, 1),
		in:     make([]byte, inBytes),
		out:    make([]byte, 0, outBytes),
	}
	l.wheel.slots = &l.slots
	if l.wakefd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, errors.Join(os.NewSyscallError("eventfd", err), l.epoll.Close())
	}
	// Edge-triggered, too: each write is an edge, so nobody has to read it.
	if err = l.control(unix.EPOLL_CTL_ADD, l.wakefd, 0, unix.EPOLLIN|unix.EPOLLET); err == nil {
		if err = l.epoll.SetReadDeadline(time.Time{}); err == nil { // fails if the runtime cannot wait for it
			l.waiter, err = l.epoll.SyscallConn()
		}
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *loop) close() {
	_ = l.epoll.Close() // no data behind them: nothing to lose
	_ = unix.Close(l.wakefd)
}

func (l *loop) control(op, fd int, slot int32, events uint32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epfd, op, fd, &unix.EpollEvent{Events: events, Fd: slot}))
}

// run ends after stop. Joined by Poller.Close.
func (l *loop) run() {
	defer l.close()
	ready := l.ready // one closure for all waits
	for {
		l.count, l.parked = 0, false
		// It fails when the wait's time is over, which watch notices.
		_ = l.waiter.Read(ready)
		if l.parked {
			l.awake()
		}
		l.now = l.poller.tick()
		l.serveAgain()
		for _, e := range l.events[:l.count] {
			if c := l.slots[e.Fd]; c != nil {
				l.serve(c, e.Events)
			}
		}
		if !l.obey() {
			return
		}
		l.watch()
		if !l.parked {
			runtime.Gosched() // the other goroutines of this P have a turn, too
		}
	}
}

// ready polls, and reports whether there is something to do. If not, the
// runtime parks the goroutine and calls again when the epoll instance has
// become readable. The runtime forgets earlier readiness before the first
// call, so nothing may be assumed before polling.
func (l *loop) ready(uintptr) bool {
	l.count = poll(l.epfd, l.events[:])
	if l.count > 0 || len(l.again) > 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asleep = len(l.inbox) == 0 && !l.stopped
	l.parked = l.asleep
	return !l.asleep
}

// awake spares those who post the wake-up.
func (l *loop) awake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asleep = false
}

// post leaves a command, and reports whether the loop will still see it.
func (l *loop) post(c command) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return false
	}
	l.inbox = append(l.inbox, c)
	l.wake()
	return true
}

// stop makes the loop release its connections and end.
func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.wake()
}

// wake ends the loop's wait. The caller holds mu.
func (l *loop) wake() {
	if l.asleep {
		l.asleep = false
		rouse(l.wakefd)
	}
}

// obey carries out the commands that have come in. It reports false when the
// loop has been stopped and all connections are released.
func (l *loop) obey() bool {
	l.mu.Lock()
	l.inbox, l.obeying = l.obeying[:0], l.inbox
	stopped := l.stopped
	l.mu.Unlock()
	for _, cmd := range l.obeying {
		if cmd.kind != cmdDo {
			l.attend(cmd)
		} else if !stopped {
			cmd.conn.call(cmd.do)
		}
	}
	const keep = 1024
	if clear(l.obeying); cap(l.obeying) > keep {
		l.obeying = nil
	}
	if stopped {
		for _, c := range l.slots {
			if c != nil {
				l.fail(c, net.ErrClosed)
				l.settle(c)
			}
		}
	}
	return !stopped
}

func (l *loop) attend(cmd command) {
	c := cmd.conn
	switch cmd.kind {
	case cmdStart:
		l.register(c)
		l.resume(c)
	case cmdResume:
		l.resume(c)
	case cmdIdle:
		c.idle = cmd.ticks
		l.arm(c)
	case cmdAlarm:
		c.alarm = cmd.ticks
		l.arm(c)
	case cmdArm:
		l.arm(c)
	case cmdClose:
		l.register(c)
		c.discard = true
		l.resume(c)
	case cmdSettle:
		l.settle(c)
	}
}

// register puts a connection into the epoll instance, where it stays until it
// is gone. The first poll tells what is ready already.
func (l *loop) register(c *Conn) {
	if c.slot != 0 || c.isGone() {
		return
	}
	if n := len(l.free); n > 0 {
		c.slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		c.slot = int32(len(l.slots))
		l.slots = append(l.slots, nil)
	}
	l.slots[c.slot] = c
	if err := l.control(unix.EPOLL_CTL_ADD, int(c.fd), c.slot, interest); err != nil {
		l.fail(c, err) // the kernel has no memory, or the user too many
	}
}

// unregister is the opposite. The descriptor is removed although it will be
// closed: a process that was forked at this moment would keep it alive, and
// with it the events.
func (l *loop) unregister(c *Conn, fd int) {
	l.wheel.remove(c)
	l.load.Add(-1)
	if c.slot != 0 {
		_ = l.control(unix.EPOLL_CTL_DEL, fd, 0, 0) // it is not there if adding it failed
		l.slots[c.slot] = nil
		l.free = append(l.free, c.slot)
		c.slot = 0
	}
}
