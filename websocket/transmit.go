package websocket

import (
	"context"
	"errors"
	"net"
	"sync"
)

// sendAll sends frames that are encoded already.
func (c *Conn) sendAll(ctx context.Context, frames [][]byte) error {
	if len(frames) == 1 {
		return c.send(ctx, frames[0], nil)
	}
	total := 0
	for _, frame := range frames {
		total += len(frame)
	}
	if c.tcp && total > bufferBytes {
		if err := c.sendKept(ctx); err != nil {
			return err
		}
		return c.transmit(ctx, frames[0], frames[1:]...)
	}
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	joined := b[:0]
	for _, frame := range frames {
		for len(frame) > 0 {
			n := min(len(frame), cap(joined)-len(joined))
			joined = append(joined, frame[:n]...)
			frame = frame[n:]
			if len(joined) == cap(joined) {
				if err := c.send(ctx, joined, nil); err != nil {
					return err
				}
				joined = joined[:0]
			}
		}
	}
	if len(joined) == 0 {
		return nil
	}
	return c.send(ctx, joined, nil)
}

// send writes first and then rest, which may be nil.
func (c *Conn) send(ctx context.Context, first, rest []byte) error {
	if c.cork.keep(first, rest) {
		if c.cork.ahead.Load() {
			return nil
		}
		return c.sendKept(ctx)
	}
	if err := c.sendKept(ctx); err != nil {
		return err
	}
	if rest == nil {
		return c.transmit(ctx, first)
	}
	return c.transmit(ctx, first, rest)
}

// transmit writes first and then rest. Only if the network does not take everything at once, there
// is something to wait for, and to bound.
func (c *Conn) transmit(ctx context.Context, first []byte, rest ...[]byte) error {
	taken, err := c.in.source.direct.send(first, rest)
	switch {
	case err != nil:
		return c.sever(ctx, err)
	case taken == len(first)+sizeOf(rest):
		return nil
	}
	return c.transmitRest(ctx, taken, first, rest)
}

func (c *Conn) transmitRest(ctx context.Context, taken int, first []byte, rest [][]byte) error {
	v := vectors.Get().(*vector)
	defer v.free()
	v.add(first, &taken)
	for _, p := range rest {
		v.add(p, &taken)
	}
	stop := c.boundWrite(ctx)
	return c.wrote(ctx, stop, v.writeTo(c.conn))
}

// vector is memory for several buffers in one write.
type vector struct {
	chunks  [][]byte
	buffers net.Buffers // eats up chunks
}

var vectors = sync.Pool{New: func() any { return new(vector) }}

// add appends p without its first bytes, which were taken.
func (v *vector) add(p []byte, taken *int) {
	n := min(*taken, len(p))
	if *taken -= n; n < len(p) {
		v.chunks = append(v.chunks, p[n:])
	}
}

func (v *vector) writeTo(conn net.Conn) error {
	if len(v.chunks) == 1 {
		_, err := conn.Write(v.chunks[0])
		return err
	}
	v.buffers = v.chunks
	_, err := v.buffers.WriteTo(conn)
	return err
}

func (v *vector) free() {
	clear(v.chunks) // hold on to nobody's memory
	v.chunks = v.chunks[:0]
	vectors.Put(v)
}

func (c *Conn) boundWrite(ctx context.Context) (stop interruption) {
	o := &c.out
	if o.until.IsZero() {
		o.until = deadlineIn(o.within)
	}
	if !o.until.IsZero() || o.deadline {
		c.conn.SetWriteDeadline(o.until) // if it fails, so will the write
		o.deadline = !o.until.IsZero()
	}
	if ctx.Done() != nil {
		stop = interrupt(ctx, c.conn.SetWriteDeadline)
	}
	return stop
}

func (c *Conn) wrote(ctx context.Context, stop interruption, err error) error {
	if stop.lift() {
		c.out.deadline = true
		if err != nil {
			return c.lost(context.Cause(ctx))
		}
	}
	if err == nil {
		return nil
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return c.lost(err)
	}
	return c.sever(ctx, err)
}

// sever ends what this side sends, as the network takes nothing more. Why, the peer may have said in
// a close frame that was not read yet: it counts more.
func (c *Conn) sever(ctx context.Context, cause error) error {
	lost := &lostError{cause}
	if c.out.closing == nil {
		c.out.closing = lost
	}
	c.mu.Lock()
	c.severed = cause
	decided := c.ending != nil || c.err != nil
	c.mu.Unlock()
	switch {
	case decided:
		return c.lost(cause)
	case c.out.aside:
		return lost // who reads comes to the end
	}
	return c.readClose(ctx, cause)
}

// readClose ends a connection on which nothing can be written any more, after what can be read
// without much waiting. Messages are dropped, as they are after any end.
func (c *Conn) readClose(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, c.closeTimeout)
	defer cancel()
	if !c.reading.tryLock() { // somebody reads
		select {
		case <-c.done:
		case <-ctx.Done():
		}
		return c.lost(cause)
	}
	defer c.reading.unlock()
	for c.over() == nil && ctx.Err() == nil {
		c.next(ctx) // its error is in the two questions above
	}
	return c.lost(cause)
}
