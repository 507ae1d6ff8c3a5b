package websocket

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// MessageType says whether a message is text or binary.
type MessageType = wire.Opcode

const (
	// Text messages are UTF-8; received ones have been checked.
	Text = wire.Text
	// Binary messages are any bytes.
	Binary = wire.Binary
)

// Conn is a WebSocket connection. All of its methods may be called by any goroutine at any time;
// one message is read at a time, and messages are written one after the other.
//
// Pings and the peer's close are answered by whoever reads: a connection on which nothing reads
// is deaf to both.
type Conn struct {
	conn        net.Conn
	subprotocol string
	deflate     *deflate // nil if messages are not compressed
	role        wire.Role
	tcp         bool // conn takes several buffers in one system call
	corks       bool

	observe        func(FrameEvent)
	writeTimeout   time.Duration
	messageTimeout time.Duration
	closeTimeout   time.Duration
	readIdle       atomic.Int64 // a time.Duration
	readLimit      atomic.Int64

	reading gate
	in      input // guarded by reading

	message gate   // held by who sends a message in fragments, and by who waits for its end
	writing gate   // held for each frame: control frames go between the fragments
	out     output // guarded by writing

	pong  atomic.Pointer[[]byte] // payload of the last ping that is not answered yet
	pings pings
	cork  cork

	background sync.WaitGroup // the keepalive's goroutine
	done       chan struct{}  // closed when the connection is over
	group      *Group         // or nil

	mu      sync.Mutex // guards what follows
	err     error      // why it is over
	ending  error      // why it will be: by what the peer has sent, whatever else goes wrong
	closed  bool       // by the close frames of both sides, or that of a peer which takes no answer
	severed error      // why the network takes nothing more
}

// newConn starts a connection whose handshake is complete. The bytes in early came with the
// handshake: they are the first of the peer's frames.
func newConn(conn net.Conn, role wire.Role, subprotocol string, options Options, early []byte) *Conn {
	options = options.withDefaults()
	c := &Conn{
		conn:           conn,
		role:           role,
		subprotocol:    subprotocol,
		deflate:        options.deflate,
		observe:        options.Observe,
		corks:          options.Cork,
		writeTimeout:   options.WriteTimeout,
		messageTimeout: options.MessageTimeout,
		closeTimeout:   options.CloseTimeout,
		done:           make(chan struct{}),
	}
	_, c.tcp = conn.(*net.TCPConn)
	c.readLimit.Store(options.ReadLimit)
	c.in.init(conn, wire.Config{
		Role:            role,
		MaxMessageBytes: options.ReadLimit,
		Inflation:       options.deflate.inflation(role),
	}, early)
	c.keepAlive(options.Keepalive)
	return c
}

// Subprotocol gives the subprotocol that both sides agreed on, or "".
func (c *Conn) Subprotocol() string { return c.subprotocol }

// LocalAddr gives the address of this side.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr gives the address of the peer, or of a proxy before it.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// Done gives a channel that is closed when the connection is over: a handler that left it to other
// goroutines can wait for it. That a peer is gone is noticed by who reads or writes.
func (c *Conn) Done() <-chan struct{} { return c.done }

// SetReadLimit changes [Options].ReadLimit, from the next message on. Zero or less is no limit.
func (c *Conn) SetReadLimit(bytes int64) { c.readLimit.Store(bytes) }

// SetReadIdle makes a read fail with [ErrIdle] once nothing at all, not even a pong, has arrived
// for d while it waited. The connection stays usable, unless this happens in the middle of a
// message. Zero, the default, is no limit. It costs less than a context with a deadline for each
// read.
func (c *Conn) SetReadIdle(d time.Duration) { c.readIdle.Store(int64(d)) }

// end ends the connection, unless it is over already, and gives the error that it ended with.
func (c *Conn) end(err error) error {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
		c.deflate.release()
		close(c.done)
	}
	err = c.err
	group := c.group
	c.mu.Unlock()
	group.leave(c)
	c.conn.Close() // nobody could do anything about its error
	return err
}

// decide says how the connection is about to end, because of what the peer has sent. It reports
// whether the peer can be told.
func (c *Conn) decide(ending error, closed bool) (reachable bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.ending, c.closed = ending, closed
	}
	return c.severed == nil
}

// lost ends the connection because of a failure below or beside the protocol, unless it was decided
// before how it ends.
func (c *Conn) lost(cause error) error {
	c.mu.Lock()
	ending := c.ending
	if c.severed != nil {
		cause = c.severed
	}
	c.mu.Unlock()
	if ending == nil {
		ending = &lostError{cause}
	}
	return c.end(ending)
}

// over gives the error that the connection ended with, or nil.
func (c *Conn) over() error {
	select {
	case <-c.done:
	default:
		return nil // without touching the lock
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// enter goes through g, unless ctx or the connection ends before.
func (c *Conn) enter(ctx context.Context, g *gate) error {
	err := g.lock(ctx, c.done)
	if err != nil {
		if over := c.over(); over != nil {
			return over
		}
	}
	return err
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// interruption stops an operation of a net.Conn when a context ends.
type interruption struct {
	stop func() bool
	over chan struct{}
}

// interrupt calls setDeadline with a time in the past when ctx ends, until the interruption is
// lifted. A context that cannot end should be spared the call.
func interrupt(ctx context.Context, setDeadline func(time.Time) error) interruption {
	over := make(chan struct{})
	return interruption{over: over, stop: context.AfterFunc(ctx, func() {
		setDeadline(longAgo)
		close(over)
	})}
}

// lift reports whether the deadline was set. After it, it will not be.
func (i interruption) lift() bool {
	if i.stop == nil || i.stop() {
		return false
	}
	<-i.over
	return true
}
