package websocket

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/duplexhq/duplex/internal/poller"
	"github.com/duplexhq/duplex/websocket/wire"
)

// EventConn is a connection of a [Server]. All of its methods may be called by any goroutine at any
// time, and only Ping blocks.
type EventConn struct {
	server  *Server
	polled  *poller.Conn // or, where it cannot be polled,
	stream  *eventStream
	agreed  *agreed  // nil if nothing was
	reading *reading // of what has begun to arrive; owned by who reads

	mu      sync.Mutex // guards what follows
	value   any
	err     error      // why nothing more is written
	duties  *duties    // or nil
	cork    *eventCork // borrowed while messages that came together are handled; changed by who reads
	alarm   uint32     // tick at which the loop looks at the duties; 0 if at none
	state   eventState
	busy    bool // somebody reads, or Open runs
	held    bool // reading waits until what is pending is sent
	behind  bool // something may be pending that Write has left
	offered bool // or Offer
	told    bool // the handler was told of the end, or is being
	over    bool // the loop has let go of it
}

// agreed is what the handshake has agreed on. Connections that agree on the same share it, unless
// one of them reserves memory for its own.
type agreed struct {
	subprotocol string      // or ""
	deflate     *deflate    // nil if messages are not compressed
	machine     wire.Config // of a connection with compression
}

// agreement is what connections have to agree on to share an agreed.
type agreement struct {
	subprotocol string
	compressed  bool
	params      wire.Deflate
}

// An eventState is how far a connection has come to its end.
type eventState uint8

const (
	eventOpen eventState = iota
	// eventClosing: our close frame is sent, that of the peer has not come. Entered by Close.
	eventClosing
	// eventEnded: err is the last word. Entered by the end of the closing handshake, by faults, and
	// by the end of the connection below.
	eventEnded
)

// duties is what few connections have at a time.
type duties struct {
	pings   pings
	done    chan struct{} // closed when the connection is over
	pong    []byte        // to be sent once nothing is pending
	owed    bool          // pong is
	closeBy time.Time     // when the closing handshake ends without the peer

	keepalive chan time.Duration // gives the round trip of the keepalive's ping
	pinged    time.Time          // when it was sent
}

// ErrFull refuses to write to a peer that reads too slowly: see [EventConn.Write].
var ErrFull = errors.New("websocket: too much is pending for a slow peer")

// Write sends a message. What the network does not take at once is kept and sent as the peer reads.
// If more than [ServerOptions].MaxPending would be kept, nothing is sent and the error is [ErrFull]:
// the message may be left out, or the connection closed. While nothing is pending, a message of any
// length is taken.
func (c *EventConn) Write(messageType MessageType, message []byte) error {
	if err := checkMessage(messageType, message); err != nil {
		return err
	}
	if form := c.FrameForm(); form.compresses(len(message)) {
		out := borrowPacked()
		defer out.free()
		out.b = form.AppendMessage(out.b[:0], messageType, message)
		return c.send(true, out.b)
	}
	return c.writeFrame(messageType, message)
}

// WriteFrames sends frames made by [AppendMessage] or [Prepared.Frame], which many connections may
// share, with the rules of [EventConn.Write]. They are not copied, and must never be changed.
func (c *EventConn) WriteFrames(frames ...[]byte) error { return c.send(false, frames...) }

// Offer sends frames as WriteFrames does, but takes them whatever is pending, and reports whether the
// network has taken everything. If not, [DrainHandler].Drained follows when it has. It is for who
// keeps his place in what he sends, offers a bounded part, and goes on in Drained. What is pending of
// it does not keep the connection from being read.
func (c *EventConn) Offer(frames ...[]byte) (taken bool, err error) {
	if c.stream != nil {
		return c.stream.offer(frames)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != eventOpen {
		return false, c.err
	}
	c.observe(frames)
	if err = c.pourOut(); err == nil {
		err = c.sendNow(false, frames...)
	}
	c.offered = err == nil && c.behind
	return err == nil && !c.behind, err
}

// WritePrepared sends p, with the rules of [EventConn.Write].
func (c *EventConn) WritePrepared(p *Prepared) error { return c.send(false, p.FrameIn(c.FrameForm())) }

// FrameForm gives the form of frames that c is best sent by WriteFrames: see [Conn.FrameForm].
func (c *EventConn) FrameForm() FrameForm {
	if d := c.deflate(); d != nil {
		return d.form
	}
	return FrameForm{}
}

// Close closes the connection in good order (RFC 6455 §7): what is pending is sent, then a close
// frame, and that of the peer is awaited, all of it for at most [Options].CloseTimeout. It returns at
// once; the handler's Close follows. A code or reason that may not be sent is an error, and does
// nothing.
func (c *EventConn) Close(code CloseCode, reason string) error {
	payload, err := wire.AppendClose(nil, code, reason)
	if err != nil {
		return err
	}
	c.sendClose(payload, &CloseError{Code: code, Reason: reason}, eventClosing)
	return nil
}

// CloseNow ends the connection at once, without a closing handshake: what was written may be lost.
// It returns at once; the handler's Close follows.
func (c *EventConn) CloseNow() { c.lost(errClosedNow) }

func (c *EventConn) goAway() {
	c.sendClose(closeGoingAway, &CloseError{Code: CloseGoingAway}, eventClosing)
}

var closeGoingAway, _ = wire.AppendClose(nil, CloseGoingAway, "")

// Ping sends a ping and waits for its pong, and gives the time between the two. The pong is noticed
// by who reads the connection: a handler must not call Ping for its own, nor an inline one for any.
func (c *EventConn) Ping(ctx context.Context) (time.Duration, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if c.stream != nil {
		return c.stream.conn.Ping(ctx)
	}
	c.mu.Lock()
	if c.state != eventOpen {
		defer c.mu.Unlock()
		return 0, c.err
	}
	d := c.needDuties()
	payload, pong := d.pings.add()
	err := c.writeControl(wire.Ping, payload)
	c.mu.Unlock()
	if err != nil {
		d.pings.forget(pong)
		return 0, err
	}
	return d.pings.wait(ctx, pong, d.done, c.ended)
}

// Latency gives the round trip of the last ping that was answered, or 0.
func (c *EventConn) Latency() time.Duration {
	if c.stream != nil {
		return c.stream.conn.Latency()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.duties == nil {
		return 0
	}
	return time.Duration(c.duties.pings.latency.Load())
}

// Subprotocol gives the subprotocol that both sides agreed on, or "".
func (c *EventConn) Subprotocol() string {
	if c.agreed == nil {
		return ""
	}
	return c.agreed.subprotocol
}

// deflate gives nil if messages are not compressed.
func (c *EventConn) deflate() *deflate {
	if c.agreed == nil {
		return nil
	}
	return c.agreed.deflate
}

// RemoteAddr gives the address of the peer, or of a proxy before it. Once the connection is over, it
// may be nil.
func (c *EventConn) RemoteAddr() net.Addr {
	if c.stream != nil {
		return c.stream.conn.RemoteAddr()
	}
	addr := c.polled.RemoteAddr()
	if !addr.IsValid() {
		return nil
	}
	return net.TCPAddrFromAddrPort(addr)
}

// SetReadIdle ends the connection with [ErrIdle] once nothing was received for d, pongs included. While
// something is pending for the peer, or a message is being handled, it is not idle. Zero or less is no
// limit.
func (c *EventConn) SetReadIdle(d time.Duration) {
	if c.stream != nil {
		c.stream.conn.SetReadIdle(d)
		return
	}
	c.polled.SetIdle(d)
}

// SetValue keeps a value of the user's with the connection.
func (c *EventConn) SetValue(v any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.value = v
}

// Value gives what SetValue has kept, or nil.
func (c *EventConn) Value() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value
}

// Later calls f once, soon: when the messages that have arrived together are handled. A hub that
// sends what has gathered then, makes one write of many. An inline handler's f must not block, as it
// runs on the loop of the connection; others have it run on a goroutine of its own. Once the
// connection is over, f is called all the same.
func (c *EventConn) Later(f func()) {
	if c.stream == nil && c.server.options.Inline {
		c.polled.Do(f)
		return
	}
	go f() // ends when f does, which is the caller's
}

// ended gives the error of a connection on which nothing can be written.
func (c *EventConn) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
