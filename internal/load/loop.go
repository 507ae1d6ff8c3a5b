//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// So many connections are being opened at a time by one loop: fewer than
	// any server's queue of those that it has not accepted.
	maxOpening = 128
	// A loop that has nothing to do looks at the phase so often.
	maxWait = 20 * time.Millisecond
	// wakeSlot stands for the eventfd in what the poller gives.
	wakeSlot = -1
)

// pace spreads messages evenly over time.
type pace struct {
	start int64
	count uint64 // messages that were sent
}

// due gives the time when the next of so many messages per second is due.
func (p *pace) due(perSecond float64) int64 {
	return p.start + int64(float64(p.count)/perSecond*1e9)
}

// loop is a thread of the generator with its connections.
type loop struct {
	run   *run
	leads bool
	conns []*conn

	poller   poller
	wakeFD   int
	begun    int // connections that were dialled
	opening  int // of them, those that are not open yet
	phase    phase
	now      int64 // time of the run, in nanoseconds
	in       [256 << 10]byte
	out      []byte // of what is sent at once
	inflated map[string]bool
	pace     pace
	cursor   int // of the work: the connection whose turn it is
	tally    tally
	seen     atomic.Uint64 // tally.messages, for the leading loop
	quiet    atomic.Bool   // nothing is under way any more, for the leading loop
	loaded   atomic.Bool   // it has begun with the load, for the leading loop
}

// tally is what a loop counts for the report.
type tally struct {
	messages, published, answers, bytesIn, reads uint64
	lost, duplicates, wrong, told                uint64
	latency, complete, answered                  Histogram
}

func (t *tally) addTo(r *Report) {
	r.Messages += t.messages
	r.Published += t.published
	r.Answers += t.answers
	r.BytesIn += t.bytesIn
	r.Reads += t.reads
	r.Lost += t.lost
	r.Duplicates += t.duplicates
	r.Wrong += t.wrong
	r.Told += t.told
	r.Latency.Merge(&t.latency)
	r.Complete.Merge(&t.complete)
	r.Answered.Merge(&t.answered)
}

func (l *loop) open() (err error) {
	l.wakeFD = -1
	if err := l.poller.open(); err != nil {
		return err
	}
	fd, _, errno := syscall.RawSyscall(syscall.SYS_EVENTFD2, 0, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return os.NewSyscallError("eventfd2", errno)
	}
	l.wakeFD = int(fd)
	return l.poller.add(l.wakeFD, wakeSlot, readable)
}

func (l *loop) close() error {
	var errs []error
	for _, c := range l.conns {
		if c.fd >= 0 {
			errs = append(errs, os.NewSyscallError("close", syscall.Close(c.fd)))
		}
	}
	if l.wakeFD >= 0 {
		errs = append(errs, os.NewSyscallError("close", syscall.Close(l.wakeFD)))
	}
	if l.poller.fd > 0 {
		errs = append(errs, os.NewSyscallError("close", syscall.Close(l.poller.fd)))
	}
	return errors.Join(errs...)
}

// wake makes the loop take another turn.
func (l *loop) wake() error {
	_, err := syscall.Write(l.wakeFD, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	if err == syscall.EAGAIN {
		return nil // it is full: that wakes too
	}
	return os.NewSyscallError("write", err)
}

// work runs the loop until the run is over.
func (l *loop) work(ctx context.Context) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	exactTimers()
	r := l.run
	for {
		l.phase = phase(r.phase.Load())
		l.now = r.now()
		if ctx.Err() != nil {
			r.fail(context.Cause(ctx))
		}
		if l.leads {
			r.lead(l)
		}
		if l.phase == over || phase(r.phase.Load()) == over {
			return
		}
		due, err := l.turn()
		if err == nil {
			err = l.wait(due)
		}
		if err != nil {
			r.fail(err)
		}
	}
}

// turn does what is due without an event.
func (l *loop) turn() (due int64, err error) {
	switch l.phase {
	case opening:
		for l.begun < len(l.conns) && l.opening < maxOpening {
			if err := l.dial(l.conns[l.begun]); err != nil {
				return 0, err
			}
		}
	case warming, measuring:
		if due, err = l.run.work.turn(l); err != nil {
			return 0, err
		}
		l.loaded.Store(true)
	}
	if l.phase >= settling && l.leads && (due == 0 || l.run.until < due) {
		due = l.run.until
	}
	return due, nil
}

func (l *loop) wait(due int64) error {
	timeout := maxWait
	if due > 0 {
		timeout = min(timeout, max(time.Duration(due-l.run.now()), 0))
	}
	events, err := l.poller.wait(timeout)
	if err != nil {
		return err
	}
	for i := range events {
		event := &events[i]
		if event.Fd == wakeSlot {
			if _, err := syscall.Read(l.wakeFD, l.in[:8]); err != nil && err != syscall.EAGAIN {
				return os.NewSyscallError("read", err)
			}
			continue
		}
		c := l.conns[event.Fd]
		if c.state == left {
			continue
		}
		if err := l.handle(c, event.Events); err != nil {
			if err = l.run.work.broken(l, c, err); err != nil {
				return fmt.Errorf("connection %d (%v): %w", c.number, c.via, err)
			}
		}
	}
	l.seen.Store(l.tally.messages)
	if l.phase == draining {
		l.quiet.Store(l.run.work.drained(l))
	}
	return nil
}

func (l *loop) dial(c *conn) (err error) {
	if c.carrier != nil && c.carrier != c {
		l.begun++
		l.opening++
		return l.join(c)
	}
	if c.fd, err = dial(l.run.address, c.number, c.scarce); err != nil {
		return err
	}
	l.begun++
	l.opening++
	return l.poller.add(c.fd, c.slot, readable|writable)
}

// leave closes a connection that is open, and forgets what it was about to
// say. It keeps its cursor.
func (l *loop) leave(c *conn) error {
	if c.state == open {
		l.run.open.Add(-1)
	} else {
		l.opening--
	}
	l.begun--
	err := syscall.Close(c.fd)
	*c = conn{fd: -1, number: c.number, slot: c.slot, via: c.via, state: left, scarce: c.scarce, gapped: c.gapped, cursor: c.cursor}
	return os.NewSyscallError("close", err)
}

// redial opens a connection again that was left.
func (l *loop) redial(c *conn) error {
	c.state = connecting
	return l.dial(c)
}

// renew gives c another connection. What is sent meanwhile waits for it.
func (l *loop) renew(c *conn) error {
	if err := l.leave(c); err != nil {
		return err
	}
	return l.redial(c)
}

// pause stops reading c; the kernel goes on receiving until its buffer is
// full.
func (l *loop) pause(c *conn) error { return l.poller.remove(c.fd) }

// resume reads c again.
func (l *loop) resume(c *conn) error {
	events := uint32(readable)
	if c.full {
		events |= writable
	}
	return l.poller.add(c.fd, c.slot, events)
}

func (l *loop) handle(c *conn, events uint32) error {
	if c.state == connecting {
		if events&(writable|syscall.EPOLLERR|syscall.EPOLLHUP) == 0 {
			return nil
		}
		return l.connected(c)
	}
	if c.full && events&writable != 0 {
		if err := l.flush(c); err != nil {
			return err
		}
	}
	if events&^writable == 0 {
		return nil
	}
	n, err := read(c.fd, l.in[:])
	switch {
	case err != nil:
		return err
	case n < 0:
		return nil
	case n == 0:
		return errEnded
	}
	l.now = l.run.now()
	if l.phase == measuring {
		l.tally.reads++
		l.tally.bytesIn += uint64(n)
	}
	if err := l.take(c, l.in[:n]); err != nil {
		return err
	}
	if l.phase >= warming && c.state == open {
		return l.run.work.received(l, c)
	}
	return nil
}

// connected sends the request that opens c.
func (l *loop) connected(c *conn) error {
	if err := dialError(c.fd); err != nil {
		return err
	}
	if err := l.poller.change(c.fd, c.slot, readable); err != nil {
		return err
	}
	if c.cable != nil {
		return l.plugged(c)
	}
	l.out = l.run.work.request(l.out[:0], c)
	if c.via != Raw {
		c.http = &httpState{}
		c.http.response.keepsValidators = l.run.dialect != nil && l.run.dialect.Validators
	}
	if len(l.out) == 0 {
		l.opened(c)
		waiting := c.unsent
		c.unsent = nil
		return l.send(c, waiting)
	}
	c.state = shaking
	if c.subscription != nil && c.subscription.Held {
		l.opened(c)
	}
	return l.send(c, l.out)
}

func (l *loop) opened(c *conn) {
	c.state = open
	l.opening--
	l.run.open.Add(1)
}

// count counts a message that was sent, or was due to be sent, at a time.
func (l *loop) count(sent int64) {
	if l.phase == measuring {
		l.tally.messages++
		l.tally.latency.Add(time.Duration(l.now - sent))
	}
}

// send sends b, or keeps a copy of what the socket does not take.
func (l *loop) send(c *conn, b []byte) error {
	if c.state == connecting {
		c.unsent = append(c.unsent, b...)
		return nil
	}
	if c.full {
		c.unsent = append(c.unsent, b...)
		return nil
	}
	n, err := write(c.fd, b)
	if err != nil || n == len(b) {
		return err
	}
	c.unsent = append(c.unsent[:0], b[n:]...)
	c.full = true
	return l.poller.change(c.fd, c.slot, readable|writable)
}

func (l *loop) flush(c *conn) error {
	n, err := write(c.fd, c.unsent)
	if err != nil {
		return err
	}
	rest := copy(c.unsent, c.unsent[n:])
	if c.unsent = c.unsent[:rest]; rest > 0 {
		return nil
	}
	c.full = false
	return l.poller.change(c.fd, c.slot, readable)
}
