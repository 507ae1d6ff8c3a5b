package websocket

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/duplexhq/duplex/internal/poller"
	"github.com/duplexhq/duplex/websocket/wire"
)

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
