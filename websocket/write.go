package websocket

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"time"
	"unicode/utf8"

	"github.com/duplexhq/duplex/websocket/wire"
)

// output is the writing half of a connection.
type output struct {
	closing   error // set once a close frame was sent, or the network took nothing more: nothing may follow
	inMessage bool  // a fragment was sent, and not the last
	deadline  bool  // the net.Conn has a write deadline
	key       [4]byte

	within time.Duration // bounds what is being written; zero or less is no bound
	until  time.Time     // when that is over: zero before there was anything to wait for
	aside  bool          // nobody has asked for it, and maybe who reads writes it
}

func (o *output) bound(within time.Duration) { o.within, o.until, o.aside = within, time.Time{}, false }

// Write sends a message in one frame. It returns when the network has taken it.
//
// If ctx ends while other writes are in the way, nothing was sent and the connection stays
// usable. If it ends during the writing itself, the connection is lost: part of a frame may be on
// its way. If the network takes nothing more, the connection is over. The error is a [*CloseError]
// then if the peer has said why, for which Write reads what there is, within
// [Options].CloseTimeout.
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
	err = c.writeFrame(ctx, messageType, payload)
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
	return c.writeWith(ctx, header, payload)
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
	if err := c.out.closing; err != nil {
		if lost, ok := err.(*lostError); ok {
			err = c.readClose(ctx, lost.cause)
		}
		c.endFrame()
		return err
	}
	c.out.bound(c.writeTimeout)
	return nil
}

// endFrame lets others write, after the pong that a reader may have left.
func (c *Conn) endFrame() {
	c.writing.unlock()
	c.sendPong()
	c.pourOut()
}

// writeFrame writes a whole message, or a control frame. It is for who is inside
// writing, as is all that follows, here and in transmit.go.
func (c *Conn) writeFrame(ctx context.Context, opcode wire.Opcode, payload []byte) error {
	return c.writeWith(ctx, wire.Header{Fin: true, Opcode: opcode}, payload)
}

// writeWith writes a frame with a header that lacks length and mask.
func (c *Conn) writeWith(ctx context.Context, header wire.Header, payload []byte) error {
	header.Length = int64(len(payload))
	if c.role == wire.Client {
		header.Masked, header.Key = true, c.out.nextKey()
	}
	if c.observe != nil {
		c.observed(true, header, payload)
	}
	if header.Masked && len(payload) > bufferBytes-wire.MaxHeaderBytes {
		return c.writeMasked(ctx, header, payload)
	}
	b := buffers.Get().(*buffer)
	frame := wire.AppendHeader(b[:0], header)
	start := len(frame)
	room := len(b) - start
	switch {
	case len(payload) <= room:
		frame, payload = append(frame, payload...), nil
		if header.Masked {
			header.Key.Mask(frame[start:])
		}
	case !c.tcp:
		frame, payload = append(frame, payload[:room]...), payload[room:]
	}
	err := c.send(ctx, frame, payload)
	buffers.Put(b)
	return err
}

// nextKey obeys §5.3: a key must be fresh for each frame and unpredictable.
func (o *output) nextKey() wire.Key {
	rand.Read(o.key[:])
	return wire.Key(binary.LittleEndian.Uint32(o.key[:]))
}

// writeMasked sends a long frame piece by piece: the payload is the caller's and must stay as it
// is.
func (c *Conn) writeMasked(ctx context.Context, header wire.Header, payload []byte) error {
	b := bigBuffers.Get().(*bigBuffer)
	defer bigBuffers.Put(b)
	key := header.Key
	piece := wire.AppendHeader(b[:0], header)
	for len(payload) > 0 {
		start := len(piece)
		n := min(len(payload), len(b)-start)
		piece = append(piece, payload[:n]...)
		key = key.Mask(piece[start:])
		if err := c.send(ctx, piece, nil); err != nil {
			return err
		}
		payload, piece = payload[n:], b[:0]
	}
	return nil
}
