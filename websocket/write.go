package websocket

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"net"
	"time"
	"unicode/utf8"

	"github.com/duplexhq/duplex/websocket/wire"
)

// output is the writing half of a connection.
type output struct {
	closing   error // set once a close frame was sent: nothing may follow it
	inMessage bool  // a fragment was sent, and not the last
	deadline  bool  // the net.Conn has a write deadline
	key       [4]byte

	// Memory for several buffers in one write, which net.Buffers eats up.
	vector  [][]byte
	buffers net.Buffers
}

// Write sends a message in one frame. It returns when the network has taken it.
//
// If ctx ends while other writes are in the way, nothing was sent and the connection stays
// usable. If it ends during the writing itself, the connection is lost: part of a frame may be on
// its way.
func (c *Conn) Write(ctx context.Context, messageType MessageType, payload []byte) error {
	if err := checkMessage(messageType, payload); err != nil {
		return err
	}
	return c.writeMessage(ctx, messageType, payload, c.deflate.compresses(len(payload)))
}

// WritePlain is [Conn.Write] of a message that is not to be compressed: because it is already, or
// because its length would tell too much.
func (c *Conn) WritePlain(ctx context.Context, messageType MessageType, payload []byte) error {
	if err := checkMessage(messageType, payload); err != nil {
		return err
	}
	return c.writeMessage(ctx, messageType, payload, false)
}

func (c *Conn) writeMessage(ctx context.Context, messageType MessageType, payload []byte, compress bool) error {
	if compress {
		return c.writeCompressed(ctx, messageType, payload)
	}
	waited, err := c.beginMessage(ctx)
	if err != nil {
		return err
	}
	err = c.writeFrame(ctx, deadlineIn(c.writeTimeout), messageType, true, payload)
	c.endMessage(waited)
	return err
}

// writeCompressed compresses the message, unless that makes it no smaller. Only with takeover it
// has to wait for the messages before.
func (c *Conn) writeCompressed(ctx context.Context, messageType MessageType, payload []byte) error {
	d := c.deflate
	out := borrowPacked()
	defer out.free()
	smaller := !d.takeover && d.form.pack(out, nil, payload, true, len(payload)-1)
	waited, err := c.beginMessage(ctx)
	if err != nil {
		return err
	}
	defer c.endMessage(waited)
	if d.takeover {
		smaller = d.form.pack(out, d.history, payload, true, len(payload)-1)
	}
	header := wire.Header{Fin: true, Opcode: messageType}
	if smaller {
		d.remember(payload)
		header.RSV = wire.RSV1
		payload = out.b
	}
	return c.writeWith(ctx, deadlineIn(c.writeTimeout), header, payload)
}

// WriteFrames sends frames that were encoded before, by [AppendMessage], [Prepared.Frame] or in
// the form that [Conn.FrameForm] gives, in as few system calls as possible. Each slice holds one or more whole messages; it is not
// checked, and not changed, so that any number of connections may share it. Only servers can do
// this: frames of clients are masked, each with its own key. As for contexts it is like
// [Conn.Write].
func (c *Conn) WriteFrames(ctx context.Context, frames ...[]byte) error {
	if c.role == wire.Client {
		return errClientFrame
	}
	waited, err := c.beginMessage(ctx)
	if err != nil {
		return err
	}
	if c.observe != nil {
		for _, frame := range frames {
			c.observedFrames(frame)
		}
	}
	c.deflate.forget()
	err = c.sendAll(ctx, frames)
	c.endMessage(waited)
	return err
}

func checkMessage(messageType MessageType, payload []byte) error {
	switch {
	case messageType == Binary, messageType == Text && utf8.Valid(payload):
		return nil
	case messageType == Text:
		return ErrText
	}
	return errMessageType
}

// beginMessage makes room for messages of one frame each, between those of others. If it gives no
// error, endMessage must follow.
func (c *Conn) beginMessage(ctx context.Context) (waited bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err := c.beginFrame(ctx); err != nil || !c.out.inMessage {
		return false, err
	}
	// Whoever sends fragments holds message until the last of them.
	c.endFrame()
	if err := c.enter(ctx, &c.message); err != nil {
		return false, err
	}
	if err := c.beginFrame(ctx); err != nil {
		c.message.unlock()
		return false, err
	}
	return true, nil
}

func (c *Conn) endMessage(waited bool) {
	c.endFrame()
	if waited {
		c.message.unlock()
	}
}

// beginFrame makes room for a frame. If it gives no error, endFrame must follow.
func (c *Conn) beginFrame(ctx context.Context) error {
	if err := c.enter(ctx, &c.writing); err != nil {
		return err
	}
	if c.out.closing != nil {
		err := c.out.closing
		c.endFrame()
		return err
	}
	return nil
}

// endFrame lets others write, after the pong that a reader may have left.
func (c *Conn) endFrame() {
	c.writing.unlock()
	c.sendPong()
	c.pourOut()
}

// writeFrame is for who is inside writing, as is all that follows.
func (c *Conn) writeFrame(ctx context.Context, until time.Time, opcode wire.Opcode, fin bool, payload []byte) error {
	return c.writeWith(ctx, until, wire.Header{Fin: fin, Opcode: opcode}, payload)
}

// writeWith writes a frame with a header that lacks length and mask.
func (c *Conn) writeWith(ctx context.Context, until time.Time, header wire.Header, payload []byte) error {
	header.Length = int64(len(payload))
	if c.role == wire.Client {
		// §5.3: a key must be fresh for each frame and unpredictable.
		rand.Read(c.out.key[:])
		header.Masked = true
		header.Key = wire.Key(binary.LittleEndian.Uint32(c.out.key[:]))
	}
	if c.observe != nil {
		c.observed(true, header, payload)
	}
	if header.Masked && len(payload) > bufferBytes-wire.MaxHeaderBytes {
		return c.writeMasked(ctx, until, header, payload)
	}
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	frame := wire.AppendHeader(b[:0], header)
	start := len(frame)
	if room := len(b) - start; len(payload) > room {
		if c.tcp {
			return c.send(ctx, until, frame, payload)
		}
		return c.send(ctx, until, append(frame, payload[:room]...), payload[room:])
	}
	frame = append(frame, payload...)
	if header.Masked {
		header.Key.Mask(frame[start:])
	}
	return c.send(ctx, until, frame, nil)
}

// writeMasked sends a long frame piece by piece: the payload is the caller's and must stay as it
// is.
func (c *Conn) writeMasked(ctx context.Context, until time.Time, header wire.Header, payload []byte) error {
	b := bigBuffers.Get().(*bigBuffer)
	defer bigBuffers.Put(b)
	key := header.Key
	piece := wire.AppendHeader(b[:0], header)
	for len(payload) > 0 {
		start := len(piece)
		n := min(len(payload), len(b)-start)
		piece = append(piece, payload[:n]...)
		key = key.Mask(piece[start:])
		if err := c.send(ctx, until, piece, nil); err != nil {
			return err
		}
		payload, piece = payload[n:], b[:0]
	}
	return nil
}

// sendAll sends frames that are encoded already.
func (c *Conn) sendAll(ctx context.Context, frames [][]byte) error {
	until := deadlineIn(c.writeTimeout)
	if len(frames) == 1 {
		return c.send(ctx, until, frames[0], nil)
	}
	total := 0
	for _, frame := range frames {
		total += len(frame)
	}
	if c.tcp && total > bufferBytes {
		if err := c.sendKept(ctx, until); err != nil {
			return err
		}
		c.out.vector = append(c.out.vector[:0], frames...)
		return c.sendVector(ctx, until)
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
				if err := c.send(ctx, until, joined, nil); err != nil {
					return err
				}
				joined = joined[:0]
			}
		}
	}
	if len(joined) == 0 {
		return nil
	}
	return c.send(ctx, until, joined, nil)
}

// send writes first and then rest, which may be nil.
func (c *Conn) send(ctx context.Context, until time.Time, first, rest []byte) error {
	if c.cork.keep(first, rest) {
		if c.cork.ahead.Load() {
			return nil
		}
		return c.sendKept(ctx, until)
	}
	if err := c.sendKept(ctx, until); err != nil {
		return err
	}
	if rest != nil {
		c.out.vector = append(c.out.vector[:0], first, rest)
		return c.sendVector(ctx, until)
	}
	stop := c.boundWrite(ctx, until)
	_, err := c.conn.Write(first)
	return c.wrote(ctx, stop, err)
}

// sendVector writes what is in out.vector.
func (c *Conn) sendVector(ctx context.Context, until time.Time) error {
	c.out.buffers = c.out.vector
	stop := c.boundWrite(ctx, until)
	_, err := c.out.buffers.WriteTo(c.conn)
	clear(c.out.vector) // hold on to nobody's memory
	return c.wrote(ctx, stop, err)
}

func (c *Conn) boundWrite(ctx context.Context, until time.Time) (stop interruption) {
	if !until.IsZero() || c.out.deadline {
		c.conn.SetWriteDeadline(until) // if it fails, so will the write
		c.out.deadline = !until.IsZero()
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
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		return c.lost(err)
	}
	return nil
}
