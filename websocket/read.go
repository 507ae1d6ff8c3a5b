package websocket

import (
	"context"
	"io"
	"slices"
)

// Read waits for the next message and returns all of it.
//
// If ctx ends before a message has begun to arrive, or nothing comes for the time set with
// [Conn.SetReadIdle], the connection stays usable. In the middle of a message either ends the
// connection, because the rest would be taken for something it is not. Once the connection is
// closed the error is a [*CloseError], or whatever broke it; every error after that matches
// [net.ErrClosed]. A message that is here already is returned even if ctx has ended.
func (c *Conn) Read(ctx context.Context) (MessageType, []byte, error) {
	return c.ReadAppend(ctx, nil)
}

// ReadAppend is [Conn.Read] into memory of the caller's: it appends the message to dst and
// returns the extended slice. On an error dst may hold part of a message.
func (c *Conn) ReadAppend(ctx context.Context, dst []byte) (MessageType, []byte, error) {
	if err := c.enter(ctx, &c.reading); err != nil {
		return 0, dst, err
	}
	defer c.reading.unlock()
	messageType, err := c.begin(ctx)
	if err != nil {
		return 0, dst, err
	}
	in := &c.in
	start := len(dst)
	dst = append(dst, in.chunk...)
	in.chunk = nil
	for !in.last || len(in.chunk) > 0 {
		if len(dst) == cap(dst) {
			// Memory follows what has arrived, not what was announced.
			ahead := min(in.machine.Left(), int64(max(len(dst)-start, bufferBytes)))
			dst = slices.Grow(dst, int(max(ahead, 512)))
		}
		n, err := c.fill(ctx, dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			break // the last frame was empty
		}
		if err != nil {
			return 0, dst, c.broken(err)
		}
	}
	in.open = false
	c.cork.ahead.Store(c.corks && len(in.data) > 0)
	return messageType, dst, nil
}

// Reader waits for the next message and returns a reader of it, whatever its size up to the
// limit. Text is checked as it arrives, so a reader may fail after it gave some of a message. The
// rules of [Conn.Read] hold, with ctx for all of the message. What is left unread of it is
// skipped by the next read of the connection; the reader is of no more use then.
func (c *Conn) Reader(ctx context.Context) (MessageType, io.Reader, error) {
	if err := c.enter(ctx, &c.reading); err != nil {
		return 0, nil, err
	}
	defer c.reading.unlock()
	messageType, err := c.begin(ctx)
	if err != nil {
		return 0, nil, err
	}
	return messageType, &messageReader{c, ctx, c.in.message}, nil
}

type messageReader struct {
	conn    *Conn
	ctx     context.Context // of the message, as io.Reader has no room for it
	message uint64
}

func (r *messageReader) Read(p []byte) (int, error) {
	c := r.conn
	if err := c.enter(r.ctx, &c.reading); err != nil {
		return 0, err
	}
	defer c.reading.unlock()
	n, err := c.readPart(r.ctx, r.message, p)
	if err != nil && err != io.EOF && err != errStaleReader {
		err = c.broken(err)
	}
	return n, err
}

// readPart reads some of the message with that number, if it is still the current one.
func (c *Conn) readPart(ctx context.Context, message uint64, p []byte) (int, error) {
	switch over := c.over(); {
	case over != nil:
		return 0, over
	case message != c.in.message:
		return 0, errStaleReader
	case !c.in.open:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	return c.fill(ctx, p)
}

// broken ends the connection because reading stopped inside a message.
func (c *Conn) broken(err error) error {
	if over := c.over(); over != nil {
		return over
	}
	return c.lost(err)
}
