package websocket

import (
	"slices"
	"time"

	"github.com/duplexhq/duplex/internal/poller"
	"github.com/duplexhq/duplex/websocket/wire"
)

// writeFrame sends a message as it is.
func (c *EventConn) writeFrame(opcode wire.Opcode, payload []byte) error {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	frame := wire.AppendHeader(b[:0], wire.Header{Fin: true, Opcode: opcode, Length: int64(len(payload))})
	if len(payload) > len(b)-len(frame) {
		return c.send(true, frame, payload)
	}
	return c.send(true, append(frame, payload...))
}

// send writes frames. What is lent is copied, as far as it has to be kept.
func (c *EventConn) send(lent bool, frames ...[]byte) error {
	if c.stream != nil {
		return c.stream.send(lent, frames)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state != eventOpen:
		return c.err
	case c.behind && c.isFull(frames):
		return ErrFull
	}
	return c.put(lent, frames...)
}

// isFull reports whether so much is pending that these frames have no room.
func (c *EventConn) isFull(frames [][]byte) bool {
	pending, err := c.polled.Write() // of nothing
	if pending == 0 || err != nil {
		return false
	}
	return pending+sizeOf(frames) > c.server.options.MaxPending
}

// put is for who holds mu, as is all that follows. It never blocks.
func (c *EventConn) put(lent bool, frames ...[]byte) error {
	c.observe(frames)
	if c.keeps(frames) {
		if c.cork.ahead {
			return nil
		}
		return c.pourOut()
	}
	if err := c.pourOut(); err != nil {
		return err
	}
	return c.sendNow(lent, frames...)
}

func (c *EventConn) observe(frames [][]byte) {
	if observe := c.server.options.Observe; observe != nil {
		observeFrames(observe, slices.Concat(frames...)) // a long payload is apart from its header
	}
}

func (c *EventConn) sendNow(lent bool, frames ...[]byte) (err error) {
	var pending int
	if lent {
		pending, err = c.polled.WriteLent(frames...)
	} else {
		pending, err = c.polled.Write(frames...)
	}
	c.behind = c.behind || pending > 0
	if err != nil {
		return &lostError{err}
	}
	return nil
}

func (c *EventConn) writeControl(opcode wire.Opcode, payload []byte) error {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	return c.put(true, wire.AppendFrame(b[:0], opcode, true, payload))
}

// pending reports whether something is that Write has left. It may be asked on the loop only.
func (c *EventConn) pending() bool {
	if c.offered {
		return c.behind // what else there is, is an offer's
	}
	n, err := c.polled.Write() // of nothing
	c.behind = n > 0 && err == nil
	return c.behind
}

// answer sends a pong. While something is pending, it is left to be sent after that, in place of the
// one that was left before (RFC 6455 §5.5.3 allows to answer only the last ping).
func (c *EventConn) answer(ping []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state != eventOpen:
	case c.behind || c.offered:
		d := c.needDuties()
		d.pong, d.owed = append(d.pong[:0], ping...), true
	default:
		_ = c.writeControl(wire.Pong, ping) // an error shows in the end of the connection
	}
}

// sendClose sends the one close frame of this side, and brings the connection to a state. If it was
// sent before, why stays what it was.
func (c *EventConn) sendClose(payload []byte, why error, state eventState) {
	if c.stream != nil {
		c.stream.close(payload, why)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == eventOpen {
		c.err = why
		_ = c.writeControl(wire.Close, payload) // an error shows in the end of the connection
		_ = c.pourOut()
	}
	if state <= c.state {
		return
	}
	c.state = state
	if state == eventEnded {
		// §7.1.1: the server ends TCP first. What is pending goes before.
		c.polled.Close()
		return
	}
	d := c.needDuties()
	d.closeBy = time.Now().Add(c.server.options.CloseTimeout)
	c.wake(d.closeBy)
}

// lost ends the connection because of a failure below or beside the protocol.
func (c *EventConn) lost(cause error) {
	if c.stream != nil {
		c.stream.conn.lost(cause)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abort(&lostError{cause})
}

// abort ends the connection without a closing handshake.
func (c *EventConn) abort(err error) {
	if c.state != eventEnded {
		c.state, c.err = eventEnded, err
	}
	c.polled.Abort()
}

func (c *EventConn) needDuties() *duties {
	if c.duties == nil {
		c.duties = &duties{done: make(chan struct{})}
		if c.over {
			close(c.duties.done)
		}
	}
	return c.duties
}

// ticking is when the ticks of alarms began.
var ticking = time.Now()

// wake has the loop look at the duties, at the latest at a time.
func (c *EventConn) wake(at time.Time) {
	tick := uint32(at.Sub(ticking)/poller.Resolution) + 1
	if c.alarm == 0 || tick < c.alarm {
		c.alarm = tick
		c.polled.SetAlarm(max(time.Until(at), 1))
	}
}
