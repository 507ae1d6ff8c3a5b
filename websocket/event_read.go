package websocket

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/duplexhq/duplex/internal/poller"
	"github.com/duplexhq/duplex/websocket/wire"
)

// events is an EventConn as its loop sees it.
type events EventConn

// reading is what a connection holds of a frame or message that is not complete, or as long as it
// lives if messages may be compressed.
type reading struct {
	machine wire.Machine
	message gathered
	began   time.Time // when the message that is not complete did; zero if there is none
}

var readings = sync.Pool{New: func() any { return new(reading) }}

// start lets a polled connection begin.
func (c *EventConn) start() {
	if d := c.deflate(); d != nil {
		c.reading = &reading{machine: wire.NewMachine(c.server.config(d))}
	}
	c.mu.Lock()
	if k := c.server.options.Keepalive; k.Interval > 0 {
		c.needDuties().pinged = time.Now()
		c.wake(c.duties.pinged.Add(k.Interval))
	}
	c.mu.Unlock()
	if c.isLastWord(true) {
		c.finish()
		return
	}
	_ = c.polled.Start() // if it was ended meanwhile, Closed says so
}

// Data reads on the loop, or has a goroutine read.
func (e *events) Data(_ *poller.Conn, p []byte) {
	c := (*EventConn)(e)
	c.mu.Lock()
	if c.state == eventEnded {
		c.mu.Unlock()
		return // after a close frame, and after a fault, nothing counts
	}
	c.pending()
	c.busy = true
	c.mu.Unlock()
	if c.server.options.Inline {
		rest := c.receive(p)
		if c.isLastWord(true) {
			c.finish()
		} else if len(rest) > 0 {
			c.hold(rest)
		}
		return
	}
	c.polled.Pause(nil)
	// Ends when what has arrived is handled. The handler's Close is not called before.
	go c.read(copyOf(p))
}

// read handles what has arrived, and lets the loop go on.
func (c *EventConn) read(arrived copied) {
	rest := c.receive(arrived.b)
	c.uncork()
	if len(rest) == 0 {
		arrived.free()
	}
	switch {
	case c.isLastWord(true):
		c.polled.Resume() // to see the peer's end
		c.finish()
	case len(rest) > 0:
		c.polled.Do(func() { c.hold(rest) })
	default:
		c.polled.Resume()
	}
}

// hold keeps the rest of what has arrived until nothing is pending. It runs on the loop.
func (c *EventConn) hold(rest []byte) {
	c.mu.Lock()
	c.held = c.pending()
	held := c.held
	c.mu.Unlock()
	c.polled.Pause(rest)
	if !held {
		c.polled.Resume()
	}
}

// receive handles bytes of the peer. It gives what is not to be handled before nothing is pending.
func (c *EventConn) receive(p []byte) (rest []byte) {
	fresh := c.server.fresh
	machine := &fresh
	r := c.reading
	if r != nil {
		machine = &r.machine
	}
	for {
		event, n, err := machine.Next(p)
		p = p[n:]
		if observe := c.server.options.Observe; observe != nil && event.Frame {
			observe(newFrameEvent(false, machine.Header(), event.Payload))
		}
		if err != nil {
			c.fail(err)
			return nil
		}
		switch event.Kind {
		case wire.More:
			c.keep(machine, r)
			return nil
		case wire.Chunk:
			if event.Last && !c.server.options.Inline {
				c.corkIf(len(p) > 0)
			}
			switch {
			case event.First && event.Last:
				c.server.message(c, event.Opcode, event.Payload)
			default:
				if r == nil {
					r = c.borrowReading(machine)
					machine = &r.machine
				}
				r.message.add(event.Payload, machine.Left())
				if !event.Last {
					continue
				}
				c.server.message(c, event.Opcode, r.message.b)
				r.message.free()
				r.began = time.Time{}
			}
			goOn, ended := c.canGoOn()
			if ended {
				return nil
			}
			if !goOn && len(p) > 0 {
				c.keep(machine, r)
				return p
			}
		case wire.PingEvent:
			c.answer(event.Payload)
		case wire.PongEvent:
			c.answered(event.Payload)
		case wire.CloseEvent:
			c.closedByPeer(event.Payload)
			return nil
		}
	}
}

func (c *EventConn) borrowReading(machine *wire.Machine) *reading {
	r := readings.Get().(*reading)
	r.machine = *machine
	c.reading = r
	return r
}

// keep holds on to what the next bytes depend on, and to nothing else.
func (c *EventConn) keep(machine *wire.Machine, r *reading) {
	if machine.Fresh() {
		if r != nil && c.deflate() == nil {
			c.reading = nil
			readings.Put(r)
		}
		return
	}
	if r == nil {
		r = c.borrowReading(machine)
	}
	if timeout := c.server.options.MessageTimeout; timeout > 0 && machine.InMessage() && r.began.IsZero() {
		r.began = time.Now()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.wake(r.began.Add(timeout))
	}
}

// canGoOn reports whether the next message may be handled.
func (c *EventConn) canGoOn() (goOn, ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.behind, c.state == eventEnded
}

func (c *EventConn) answered(pong []byte) {
	c.mu.Lock()
	d := c.duties
	c.mu.Unlock()
	if d != nil {
		d.pings.answered(pong)
	}
}

// closedByPeer answers a close frame, or takes it as the answer to ours.
func (c *EventConn) closedByPeer(payload []byte) {
	code, reason, err := wire.ParseClose(payload)
	if err != nil {
		c.lost(err)
		return
	}
	// §5.5.1: the answer "typically echos the status code it received", as Conn does.
	c.sendClose(payload, &CloseError{Code: code, Reason: reason, Remote: true}, eventEnded)
}

// fail closes the connection because of what the peer did (§7.1.7). What it sends from now on is
// dropped until it ends too, so that it can see the close frame.
func (c *EventConn) fail(err error) {
	fault, ok := errors.AsType[*wire.Fault](err)
	if !ok {
		c.lost(err)
		return
	}
	payload, err := wire.AppendClose(nil, fault.Code, fault.Reason)
	if err != nil {
		c.lost(err)
		return
	}
	c.sendClose(payload, &CloseError{Code: fault.Code, Reason: fault.Reason}, eventEnded)
}

// Drained sends the pong that was left, and goes on reading.
func (e *events) Drained(*poller.Conn) {
	c := (*EventConn)(e)
	c.mu.Lock()
	offered := c.offered
	c.behind, c.offered = false, false
	if d := c.duties; d != nil && d.owed && c.state == eventOpen {
		d.owed = false
		_ = c.writeControl(wire.Pong, d.pong) // an error shows in the end of the connection
	}
	if c.held {
		c.held = false
		c.polled.Resume()
	}
	c.mu.Unlock()
	if offered {
		c.server.drained(c)
	}
}

// HalfClosed changes nothing: without a close frame, it is the end.
func (e *events) HalfClosed(*poller.Conn) bool { return false }

// Closed is the end.
func (e *events) Closed(_ *poller.Conn, err error) {
	c := (*EventConn)(e)
	c.mu.Lock()
	if c.state != eventEnded {
		c.state = eventEnded
		c.err = &lostError{causeOf(err)}
	}
	if c.over = true; c.duties != nil {
		close(c.duties.done)
	}
	owed := c.offered && !c.told
	c.offered = false
	c.mu.Unlock()
	if owed {
		c.server.drained(c) // a message that is being handled may wait for it
	}
	switch {
	case !c.isLastWord(false):
	case c.server.options.Inline:
		c.finish()
	default:
		go c.finish() // ends when the handler's Close does, which Group.Shutdown waits for
	}
}

// isLastWord reports whether the connection has ended and the handler is still to be told: by the
// caller, who is the only one to get that answer. If he was busy with the connection, he is not any
// more. The connection below may still wait for the peer's end.
func (c *EventConn) isLastWord(wasBusy bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wasBusy {
		c.busy = false
	}
	if c.state != eventEnded || c.busy || c.told {
		return false
	}
	c.told = true
	return true
}

// causeOf translates an error of the poller.
func causeOf(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF // there was no close frame
	case errors.Is(err, poller.ErrStalled):
		return os.ErrDeadlineExceeded
	case errors.Is(err, poller.ErrIdle):
		return ErrIdle
	}
	return err
}

// finish is the last that a handler hears of a connection.
func (c *EventConn) finish() {
	if r := c.reading; r != nil {
		r.message.free()
		c.reading = nil
	}
	c.deflate().release()
	c.server.over(c, c.ended())
	c.server.options.Group.leave(c)
}

// Alarm looks at what has a time limit.
func (e *events) Alarm(*poller.Conn) {
	c := (*EventConn)(e)
	c.mu.Lock()
	c.alarm = 0
	now := time.Now()
	if d := c.duties; d != nil && c.state == eventClosing {
		pending, _ := c.polled.Write() // of nothing
		switch {
		case now.Before(d.closeBy):
			c.wake(d.closeBy)
		case pending > 0: // the peer has not been asked yet; WriteTimeout bounds it
			d.closeBy = now.Add(c.server.options.CloseTimeout)
			c.wake(d.closeBy)
		default:
			c.state = eventEnded
			c.polled.Close() // the peer may still be reading what the kernel has
		}
	}
	if c.server.options.Keepalive.Interval > 0 && c.state == eventOpen {
		c.keepAlive(now)
	}
	busy := c.busy || c.held // then the peer is not to blame
	c.mu.Unlock()
	timeout := c.server.options.MessageTimeout
	if timeout <= 0 {
		return
	}
	if busy {
		c.mu.Lock()
		c.wake(now.Add(timeout))
		c.mu.Unlock()
		return
	}
	if r := c.reading; r != nil && !r.began.IsZero() {
		if end := r.began.Add(timeout); now.Before(end) {
			c.mu.Lock()
			c.wake(end)
			c.mu.Unlock()
		} else {
			c.fail(faultSlow)
		}
	}
}

// keepAlive sends the next ping, or ends the connection of a peer that has not answered the last.
// The caller holds mu.
func (c *EventConn) keepAlive(now time.Time) {
	k := c.server.options.Keepalive
	d := c.needDuties()
	if d.keepalive != nil {
		select {
		case <-d.keepalive:
			d.keepalive = nil
		default:
		}
	}
	switch {
	case d.keepalive == nil && now.Before(d.pinged.Add(k.Interval)):
		c.wake(d.pinged.Add(k.Interval))
	case d.keepalive == nil:
		var payload []byte
		payload, d.keepalive = d.pings.add()
		d.pinged = now
		_ = c.writeControl(wire.Ping, payload) // if there is no room, WriteTimeout bounds it
		c.wake(now.Add(min(k.Timeout, k.Interval)))
	case c.busy || c.held || c.behind || c.offered: // its pong cannot be seen, or the ping has not left
		d.pinged = now
		c.wake(now.Add(k.Timeout))
	case now.Before(d.pinged.Add(k.Timeout)):
		c.wake(d.pinged.Add(k.Timeout))
	default:
		c.abort(&lostError{ErrNoPong})
	}
}
