package websocket

import (
	"context"
	"errors"
	"io"

	"github.com/duplexhq/duplex/websocket/wire"
)

var errNoClose = errors.New("peer did not answer the close in time")

// Close closes the connection in good order (RFC 6455 §7): it sends a close frame after whatever
// is being written, waits for that of the peer, and ends the connection below; a client leaves
// that to the server. [Options].CloseTimeout bounds all of it. Messages that arrive meanwhile go
// to a read that is waiting, and are dropped if there is none: see [Conn.CloseWrite].
//
// The error is nil if the closing handshake was completed, even if the peer began it or Close was
// called before; a peer that has closed need not take the answer. A code or reason that may not be
// sent is an error, and does nothing. Reason may have 123 bytes.
func (c *Conn) Close(code CloseCode, reason string) error {
	payload, err := wire.AppendClose(nil, code, reason)
	if err != nil {
		return err
	}
	defer c.background.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), c.closeTimeout)
	defer cancel()
	why := &CloseError{Code: code, Reason: reason}
	if c.sendClose(ctx, payload, why) == nil && c.enter(ctx, &c.reading) == nil {
		for c.over() == nil && ctx.Err() == nil {
			c.next(ctx) // its error is in the two questions above
		}
		c.reading.unlock()
	}
	err = c.end(why)
	switch {
	case c.closedWell():
		return nil
	case err == why:
		return &lostError{errNoClose}
	}
	return err
}

// CloseWrite sends a close frame after whatever is being written, and waits for nothing. Reads then
// give what the peer has sent before its own close frame, and after that a [*CloseError] with this
// code (RFC 6455 §5.5.1 lets the peer finish its message first). Nothing can be written any more,
// and no second close frame is sent.
//
// Nothing bounds how long the peer may go on: call [Conn.Close] or [Conn.CloseNow] in the end. Like
// Close it refuses a code or reason that may not be sent. As for contexts it is like [Conn.Write].
func (c *Conn) CloseWrite(ctx context.Context, code CloseCode, reason string) error {
	payload, err := wire.AppendClose(nil, code, reason)
	if err != nil {
		return err
	}
	return c.sendClose(ctx, payload, &CloseError{Code: code, Reason: reason})
}

// CloseNow ends the connection at once, without a closing handshake. It is meant to be deferred:
// after Close it does nothing.
func (c *Conn) CloseNow() {
	c.lost(errClosedNow)
	c.background.Wait()
}

var errClosedNow = errors.New("closed without a handshake")

// sendClose sends the one close frame of this side. Whoever comes later finds that it is done.
func (c *Conn) sendClose(ctx context.Context, payload []byte, why error) error {
	if err := c.enter(ctx, &c.writing); err != nil {
		return err
	}
	defer c.writing.unlock()
	if lost, ok := c.out.closing.(*lostError); ok {
		return c.readClose(ctx, lost.cause)
	}
	if c.out.closing != nil {
		return nil
	}
	c.out.closing = why
	c.out.bound(0)
	return c.writeFrame(ctx, wire.Close, payload)
}

// closedByPeer answers a close frame, or takes it as the answer to ours.
func (c *Conn) closedByPeer(payload []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.closeTimeout)
	defer cancel()
	code, reason, err := wire.ParseClose(payload)
	if err != nil {
		return c.lost(err)
	}
	why := &CloseError{Code: code, Reason: reason, Remote: true}
	// §5.5.1: the answer "typically echos the status code it received". The reason goes with it, as
	// browsers show to who has closed what comes back.
	if !c.decide(why, true) || c.sendClose(ctx, payload, why) != nil {
		return c.end(why)
	}
	c.decide(c.out.closing, true)
	if c.role == wire.Client {
		c.drain(ctx) // §7.1.1: the server closes TCP first
	}
	return c.end(c.out.closing)
}

// fail closes the connection because of what the peer did (§7.1.7).
func (c *Conn) fail(err error) error {
	fault, ok := errors.AsType[*wire.Fault](err)
	if !ok {
		return c.lost(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.closeTimeout)
	defer cancel()
	why := &CloseError{Code: fault.Code, Reason: fault.Reason}
	payload, err := wire.AppendClose(nil, fault.Code, fault.Reason)
	if err != nil || !c.decide(why, false) || c.sendClose(ctx, payload, why) != nil {
		return c.end(why)
	}
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		// Closing a socket that has unread bytes resets the connection, and the peer might never
		// see the close frame. So wait until it has seen the end.
		if half.CloseWrite() == nil {
			c.drain(ctx)
		}
	}
	return c.end(c.out.closing)
}

// drain reads and drops whatever comes, until the peer's end or that of ctx, which must have a
// deadline.
func (c *Conn) drain(ctx context.Context) {
	until, _ := ctx.Deadline()
	c.conn.SetReadDeadline(until)
	io.Copy(io.Discard, c.conn) // any error is as good as the end
}

func (c *Conn) closedWell() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}
