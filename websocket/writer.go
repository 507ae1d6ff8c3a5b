package websocket

import (
	"context"
	"io"
	"math"

	"github.com/duplexhq/duplex/websocket/wire"
)

// Writer begins a message whose length need not be known. What is written to it leaves in
// fragments: when a buffer of 8 KiB is full, when the writer's Flush method (as in `interface{
// Flush() error }`) is called, and the last one with Close. A longer Write is a fragment of its
// own.
//
// From the first fragment on, other messages wait until Close; pings, pongs and closes go between
// the fragments. Another Writer waits in any case. The context is that of the whole message: if
// it ends, or the text turns out not to be UTF-8, after a fragment was sent, the connection is
// lost, because the message can be neither completed nor taken back.
func (c *Conn) Writer(ctx context.Context, messageType MessageType) (io.WriteCloser, error) {
	if err := checkMessage(messageType, nil); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := c.enter(ctx, &c.message); err != nil {
		return nil, err
	}
	if over := c.over(); over != nil {
		c.message.unlock()
		return nil, over
	}
	return &messageWriter{
		conn:   c,
		ctx:    ctx,
		opcode: messageType,
		text:   messageType == Text,
		buffer: buffers.Get().(*buffer),
	}, nil
}

type messageWriter struct {
	conn   *Conn
	ctx    context.Context // of the message, as io.Writer has no room for it
	opcode wire.Opcode     // of the next fragment
	text   bool
	utf8   wire.UTF8
	packed bool    // the message is compressed
	buffer *buffer // nil once the writer is closed
	held   int     // bytes in buffer
	err    error   // why it was closed
}

func (w *messageWriter) Write(p []byte) (int, error) {
	if w.buffer == nil {
		return 0, w.err
	}
	if w.text && !w.utf8.Feed(p) {
		return 0, w.abandon(ErrText)
	}
	written := len(p)
	for len(p) > 0 {
		// A full buffer waits for more: the last fragment should say that it is.
		if w.held == len(w.buffer) || w.held > 0 && len(p) > len(w.buffer) {
			if err := w.Flush(); err != nil {
				return 0, err
			}
		}
		if len(p) > len(w.buffer) {
			return written, w.send(p, false)
		}
		n := copy(w.buffer[w.held:], p)
		w.held += n
		p = p[n:]
	}
	return written, nil
}

// Flush sends what is held back as a fragment.
func (w *messageWriter) Flush() error {
	if w.buffer == nil {
		return w.err
	}
	if w.held == 0 {
		return nil
	}
	held := w.held
	w.held = 0
	return w.send(w.buffer[:held], false)
}

func (w *messageWriter) Close() error {
	if w.buffer == nil {
		return w.err
	}
	if !w.utf8.Complete() {
		return w.abandon(ErrText)
	}
	if err := w.send(w.buffer[:w.held], true); err != nil {
		return err
	}
	w.finish(errWriterDone)
	return nil
}

func (w *messageWriter) send(p []byte, fin bool) error {
	c := w.conn
	if err := c.beginFrame(w.ctx); err != nil {
		return w.abandon(err)
	}
	c.out.inMessage = !fin
	out := borrowPacked()
	defer out.free()
	header := wire.Header{Fin: fin, Opcode: w.opcode}
	p = w.pack(out, &header, p)
	err := c.writeWith(w.ctx, header, p)
	c.endFrame()
	if err != nil {
		return w.abandon(err)
	}
	w.opcode = wire.Continuation
	return nil
}

// pack gives the payload of a fragment: p, or p compressed into out. What is done with the first
// fragment has to be done with all. Without takeover they do not refer to each other, so that no
// memory is held between them.
func (w *messageWriter) pack(out *packed, header *wire.Header, p []byte) []byte {
	d := w.conn.deflate
	limit := math.MaxInt
	if w.opcode != wire.Continuation {
		limit = len(p) - 1
		w.packed = d.compresses(len(p))
	}
	if !w.packed {
		return p
	}
	if !d.form.pack(out, d.history, p, header.Fin, limit) {
		w.packed = false
		return p
	}
	if w.opcode != wire.Continuation {
		header.RSV = wire.RSV1
	}
	d.remember(p)
	return out.b
}

// abandon gives up a message. If some of it was sent, the connection goes with it.
func (w *messageWriter) abandon(err error) error {
	if w.opcode == wire.Continuation {
		w.conn.lost(err)
	}
	w.finish(err)
	return err
}

func (w *messageWriter) finish(err error) {
	w.err = err
	buffers.Put(w.buffer)
	w.buffer = nil
	w.conn.message.unlock()
}
