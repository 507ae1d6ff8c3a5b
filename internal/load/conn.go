//go:build linux

package load

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"

	"github.com/duplexhq/duplex/websocket/wire"
)

type state uint8

const (
	connecting state = iota
	shaking          // hands: the request was sent, and its answer is awaited
	greeting         // it was answered, and what was said after it is not yet
	open
	left // closed by us
)

// conn is a connection of the generator.
type conn struct {
	fd     int
	number int // of all connections
	slot   int32
	via    Transport
	state  state
	full   bool // the socket: unsent waits for it
	scarce bool // has a small buffer for what it receives
	gapped bool // the server has said that messages are missing before the next

	unsent       []byte
	arrival      arrival
	frames       frames
	http         *httpState
	subscription *Subscription // nil if it is none
	cursor       []byte        // after all that has arrived, if the run wants cursors
	carrier      *conn         // over HTTP/2: whose socket it uses, maybe its own
	cable        *cable        // of a carrier
	streamed     int           // bytes of DATA since the last WINDOW_UPDATE of its stream
}

// httpState is for connections whose answers are HTTP, and for the others
// until they are open.
type httpState struct {
	response response
	lines    lines
	events   eventStream
	page     []byte // of a long-poll, or of an answer with a cursor
}

// frames is where a connection is in the WebSocket frames that it receives.
type frames struct {
	partial [wire.MaxHeaderBytes]byte
	held    int // bytes of partial
	inFrame bool
	inText  bool // a message has begun
	packed  bool // and is compressed
	json    bool // all messages are gathered, as texts
	header  wire.Header
	left    int64  // of the frame
	gather  []byte // of a control frame, or of a compressed message
}

// closeGap ends a WebSocket whose messages are missing (PROTOCOL.md §8.8).
const closeGap = 4410

var (
	errEnded  = errors.New("the server has ended the connection")
	errFrames = errors.New("the server has sent frames that break RFC 6455")
)

// take takes what was read.
func (l *loop) take(c *conn, b []byte) error {
	if c.cable != nil {
		return l.takeCable(c, b)
	}
	if c.state == shaking && c.via != LongPoll {
		rest, err := l.shake(c, b)
		if err != nil || c.state == shaking {
			return err
		}
		b = rest
	}
	switch c.via {
	case WebSocket, DuplexV1, socket:
		return l.takeFrames(c, b)
	case Raw:
		for len(b) > 0 {
			n := min(len(b), len(l.run.pattern)-c.arrival.at)
			c.arrival.feed(l.run.pattern, b[:n])
			b = b[n:]
			if c.arrival.at == len(l.run.pattern) {
				l.message(c)
			}
		}
		return nil
	}
	return l.takeHTTP(c, b)
}

// shake takes the answer to the request that opens a connection.
func (l *loop) shake(c *conn, b []byte) (rest []byte, err error) {
	r := &c.http.response
	p, _, rest, err := r.next(b)
	if err != nil || p != partHead {
		return nil, err
	}
	wanted := 200
	if c.via.upgrades() {
		wanted = 101
	}
	switch {
	case r.status != wanted:
		return nil, fmt.Errorf("the server has answered %d", r.status)
	case c.via.upgrades() && r.accept != acceptKey:
		return nil, errors.New("the server has not answered the key of the handshake")
	case r.deflated != (l.run.packed != nil):
		return nil, errors.New("the server does not do permessage-deflate")
	}
	if c.via.upgrades() {
		c.http = nil
		c.frames.json = c.subscription != nil && c.subscription.JSON
	}
	if c.subscription == nil || c.subscription.Ready == "" {
		l.opened(c)
		return rest, nil
	}
	c.state = greeting
	l.out = l.out[:0]
	for _, text := range c.subscription.Greet {
		l.out = wire.AppendMaskedFrame(l.out, wire.Text, true, maskKey, []byte(text))
	}
	if len(l.out) == 0 {
		return rest, nil
	}
	return rest, l.send(c, l.out)
}

func (l *loop) takeFrames(c *conn, b []byte) error {
	f := &c.frames
	for {
		if !f.inFrame {
			n, err := f.begin(b)
			if err != nil || n == 0 {
				return err
			}
			b = b[n:]
		}
		n := int(min(int64(len(b)), f.left))
		switch {
		case f.json && f.header.Fin && f.left == int64(n) && len(f.gather) == 0 && !f.header.Opcode.Control():
			if err := l.text(c, b[:n]); err != nil { // all of it is here: the usual case
				return err
			}
			f.inFrame, f.inText = false, false
			b = b[n:]
			continue
		case f.header.Opcode.Control(), f.packed, f.json:
			f.gather = append(f.gather, b[:n]...)
		default:
			c.arrival.feed(l.run.pattern, b[:n])
		}
		b = b[n:]
		if f.left -= int64(n); f.left > 0 {
			return nil
		}
		f.inFrame = false
		switch {
		case f.header.Opcode.Control():
			if err := l.control(c); err != nil {
				return err
			}
		case f.header.Fin:
			f.inText = false
			switch {
			case f.packed:
				l.packedMessage(c)
			case f.json:
				if err := l.text(c, f.gather); err != nil {
					return err
				}
				f.gather = f.gather[:0]
			default:
				l.message(c)
			}
		}
	}
}

// begin takes the header of a frame. As long as it is incomplete, n is 0.
func (f *frames) begin(b []byte) (n int, err error) {
	head := b
	held := f.held
	if held > 0 {
		n := copy(f.partial[held:], b)
		head = f.partial[:held+n]
	}
	h, n, err := wire.ParseHeader(head)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		f.held = copy(f.partial[:], head)
		return 0, nil
	}
	f.held = 0
	f.header, f.left, f.inFrame = h, h.Length, true
	switch {
	case h.Masked, h.Opcode.Control() && (h.Length > wire.MaxControlPayload || !h.Fin):
		return 0, errFrames
	case h.Opcode.Control():
		// Between the fragments of a message that is gathered in the same
		// place, no server that is measured here sends any.
		if f.inText && (f.packed || f.json) {
			return 0, errors.New("control frame inside a message that is compressed or JSON")
		}
		f.gather = f.gather[:0]
	case f.inText != (h.Opcode == wire.Continuation):
		return 0, errFrames
	case !f.inText:
		f.inText, f.packed = true, h.RSV == wire.RSV1
		f.gather = f.gather[:0]
	}
	return n - held, nil
}

// control answers pings. A close is an end.
func (l *loop) control(c *conn) error {
	switch c.frames.header.Opcode {
	case wire.Close:
		code, reason, _ := wire.ParseClose(c.frames.gather)
		c.gapped = c.gapped || code == closeGap
		return fmt.Errorf("%w: %d %q", errEnded, code, reason)
	case wire.Ping:
		pong := wire.AppendMaskedFrame(nil, wire.Pong, true, maskKey, c.frames.gather)
		c.frames.gather = c.frames.gather[:0]
		return l.send(c, pong)
	}
	c.frames.gather = c.frames.gather[:0]
	return nil
}

// message ends a message that has arrived.
func (l *loop) message(c *conn) {
	number, ok := c.arrival.end(l.run.pattern)
	if !ok {
		l.tally.wrong++
	}
	l.run.work.delivered(l, c, number, ok)
}

// packedMessage ends a compressed message. A server without context takeover
// makes the same bytes of the same message each time, so that only new ones
// have to be inflated.
func (l *loop) packedMessage(c *conn) {
	packed := c.frames.gather
	if !l.inflated[string(packed)] {
		text, err := inflate(packed, len(l.run.pattern))
		if err != nil || !bytes.Equal(text, l.run.pattern) {
			l.tally.wrong++
			l.run.work.delivered(l, c, 0, false)
			return
		}
		if len(l.inflated) < 16 {
			l.inflated[string(packed)] = true
		}
	}
	l.run.work.delivered(l, c, 0, true)
}

// deflateTail ends what was flushed, and is not sent (RFC 7692 §7.2.1).
const deflateTail = "\x00\x00\xff\xff"

func inflate(packed []byte, limit int) ([]byte, error) {
	const final = "\x01\x00\x00\xff\xff" // an empty last block, for the reader to end
	r := flate.NewReader(io.MultiReader(bytes.NewReader(packed), bytes.NewReader([]byte(deflateTail+final))))
	return io.ReadAll(io.LimitReader(r, int64(limit)+1))
}

func deflate(text []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte(deflateTail)), nil
}

// takeHTTP takes bytes of an event stream, of JSON lines, or of the answers to
// requests that publish or poll.
func (l *loop) takeHTTP(c *conn, b []byte) error {
	h := c.http
	stream := c.via != post && c.via != LongPoll
	for {
		p, body, rest, err := h.response.next(b)
		if err != nil {
			return err
		}
		switch {
		case p == partNone:
			return nil
		case p == partBody && stream:
			if err := l.takeLines(c, body); err != nil {
				return err
			}
			if len(h.lines.held) > maxLineBytes {
				return errors.New("line is too long")
			}
		case p == partBody && (c.via == LongPoll || l.run.cursors):
			h.page = append(h.page, body...)
			if len(h.page) > maxLineBytes {
				return errors.New("page is too long")
			}
		case p == partEnd && stream:
			return errEnded
		case p == partEnd:
			if c.via == LongPoll {
				err = l.page(c)
			} else {
				l.learn(c, h.page)
				err = l.run.work.answered(l, c, h.response.status)
			}
			if err != nil {
				return err
			}
			h.page = h.page[:0]
		}
		b = rest
	}
}

func (l *loop) takeLines(c *conn, b []byte) error {
	for {
		line, rest, ok := c.http.lines.next(b)
		if !ok {
			return nil
		}
		b = rest
		if c.via == Stream {
			if err := l.text(c, line); err != nil {
				return err
			}
			continue
		}
		s := &c.http.events
		data, ok := s.line(line)
		if !ok {
			if s.gap {
				c.gapped, s.gap = true, false
			}
			continue
		}
		if l.run.cursors && len(s.id) > 0 {
			c.cursor = append(c.cursor[:0], s.id...)
		}
		if c.subscription != nil && c.subscription.JSON {
			if err := l.text(c, data); err != nil {
				return err
			}
			continue
		}
		c.arrival.feed(l.run.pattern, data)
		l.message(c)
	}
}
