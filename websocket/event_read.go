package websocket

import (
	"sync"
	"time"

	"github.com/duplexhq/duplex/internal/poller"
	"github.com/duplexhq/duplex/websocket/wire"
)

// events is an EventConn as its loop sees it.
type events EventConn

// reading is what a connection holds of a frame or message that is not complete, or of messages that
// later ones may refer to.
type reading struct {
	machine wire.Machine
	message gathered
	began   time.Time // when the message that is not complete did; zero if there is none
}

var readings = sync.Pool{New: func() any { return new(reading) }}

// start lets a polled connection begin.
func (c *EventConn) start() {
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
	if r == nil && c.deflate() != nil {
		r = c.borrowReading()
		r.machine.Reset(c.agreed.machine)
	}
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
					r = c.borrowReading()
					r.machine = *machine
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

func (c *EventConn) borrowReading() *reading {
	c.reading = readings.Get().(*reading)
	return c.reading
}

// keep holds on to what the next bytes depend on, and to nothing else.
func (c *EventConn) keep(machine *wire.Machine, r *reading) {
	if machine.Fresh() {
		if r != nil {
			c.reading = nil
			readings.Put(r)
		}
		return
	}
	if r == nil {
		r = c.borrowReading()
		r.machine = *machine
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
