package websocket

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// NetConn gives c the form of a net.Conn: a stream of bytes in which the borders of messages are
// lost. Each Write is a message of the given type; reads accept both types. The peer's close with
// CloseNormal or CloseGoingAway is io.EOF. Close closes with CloseNormal. ctx bounds the stream.
//
// A read deadline leaves the stream usable, also in the middle of a message; a write deadline
// that ends a write does not, as with [Conn.Write].
func NetConn(ctx context.Context, c *Conn, messageType MessageType) net.Conn {
	return &netConn{
		Conn:        c,
		messageType: messageType,
		read:        deadline{base: ctx},
		write:       deadline{base: ctx},
	}
}

type netConn struct {
	*Conn
	messageType MessageType
	message     uint64 // being read, or 0; guarded by Conn.reading
	read, write deadline
}

func (n *netConn) Read(p []byte) (int, error) {
	ctx, done, err := n.read.begin()
	if err != nil {
		return 0, err
	}
	defer done()
	c := n.Conn
	if err := c.enter(ctx, &c.reading); err != nil {
		return 0, err
	}
	defer c.reading.unlock()
	for {
		if n.message == 0 {
			if _, err := c.begin(ctx); err != nil {
				return 0, streamEnd(err)
			}
			n.message = c.in.message
		}
		read, err := c.readPart(ctx, n.message, p)
		if err == nil {
			return read, nil
		}
		if err != io.EOF {
			return read, streamEnd(err)
		}
		n.message = 0
	}
}

// streamEnd makes a close in good order the end of the stream.
func streamEnd(err error) error {
	if closed, ok := err.(*CloseError); ok && closed.Remote &&
		(closed.Code == CloseNormal || closed.Code == CloseGoingAway) {
		return io.EOF
	}
	return err
}

func (n *netConn) Write(p []byte) (int, error) {
	ctx, done, err := n.write.begin()
	if err != nil {
		return 0, err
	}
	defer done()
	if err := n.Conn.Write(ctx, n.messageType, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (n *netConn) Close() error { return n.Conn.Close(CloseNormal, "") }

func (n *netConn) SetDeadline(t time.Time) error {
	n.read.set(t)
	n.write.set(t)
	return nil
}

func (n *netConn) SetReadDeadline(t time.Time) error {
	n.read.set(t)
	return nil
}

func (n *netConn) SetWriteDeadline(t time.Time) error {
	n.write.set(t)
	return nil
}

// deadline is one of net.Conn, for operations that take a context. It holds for those under way
// too.
type deadline struct {
	base context.Context // of the stream

	mu     sync.Mutex // guards what follows
	passed bool
	timer  *time.Timer
	under  map[*context.CancelCauseFunc]struct{} // operations under way
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.passed = false
	if t.IsZero() {
		return
	}
	if wait := time.Until(t); wait > 0 {
		var timer *time.Timer
		timer = time.AfterFunc(wait, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.timer == timer { // else it was set anew
				d.pass()
			}
		})
		d.timer = timer
		return
	}
	d.pass()
}

func (d *deadline) pass() {
	d.passed = true
	for cancel := range d.under {
		(*cancel)(os.ErrDeadlineExceeded)
	}
}

// begin gives the context of an operation, and a function for its end.
func (d *deadline) begin() (context.Context, func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed {
		return nil, nil, os.ErrDeadlineExceeded
	}
	ctx, cancel := context.WithCancelCause(d.base)
	if d.under == nil {
		d.under = map[*context.CancelCauseFunc]struct{}{}
	}
	d.under[&cancel] = struct{}{}
	return ctx, func() {
		d.mu.Lock()
		delete(d.under, &cancel)
		d.mu.Unlock()
		cancel(nil)
	}, nil
}
