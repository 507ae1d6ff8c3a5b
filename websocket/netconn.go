package websocket

import (
	"context"
	"io"
	"net"
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
		deadlines:   newDeadlines(ctx),
	}
}

type netConn struct {
	*Conn
	messageType MessageType
	message     uint64 // being read, or 0; guarded by Conn.reading
	deadlines
}

func (n *netConn) Read(p []byte) (int, error) {
	ctx, done, err := n.readBy.begin()
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
	ctx, done, err := n.writeBy.begin()
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
