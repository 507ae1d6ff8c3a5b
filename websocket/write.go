package websocket

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"sync"
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
// writing, as is all that follows.
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
