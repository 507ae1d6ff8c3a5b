package websocket

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"sync"

	"github.com/duplexhq/duplex/websocket/wire"
	"github.com/klauspost/compress/flate"
)

// FrameForm is a form of a server's frames: as it is, or compressed for a window of some size. It
// can be compared, and be the key under which a hub keeps the bytes of a message. The zero value
// is the plain form, which every connection takes.
type FrameForm struct {
	windowBits int8 // 0 if plain
	level      int8
	threshold  int32
}

func newFrameForm(k *Compression, windowBits int) FrameForm {
	return FrameForm{
		windowBits: int8(windowBits),
		level:      int8(min(max(cmp.Or(k.Level, flate.BestSpeed), flate.BestSpeed), flate.BestCompression)),
		threshold:  int32(min(max(cmp.Or(k.Threshold, defaultThreshold), 0), math.MaxInt32)),
	}
}

// FrameForm gives the form of frames that c is best sent by [Conn.WriteFrames]. It must not be sent
// another but the plain one.
func (c *Conn) FrameForm() FrameForm {
	if c.deflate == nil {
		return FrameForm{}
	}
	return c.deflate.form
}

// Compressed reports whether messages in this form may be compressed.
func (f FrameForm) Compressed() bool { return f.windowBits != 0 }

// AppendMessage is [AppendMessage] in this form. A message that would not get smaller is appended
// as it is.
func (f FrameForm) AppendMessage(dst []byte, messageType MessageType, payload []byte) []byte {
	if f.compresses(len(payload)) {
		out := borrowPacked()
		defer out.free()
		if f.pack(out, nil, payload, true, len(payload)-1) {
			h := wire.Header{Fin: true, RSV: wire.RSV1, Opcode: messageType, Length: int64(len(out.b))}
			return append(wire.AppendHeader(dst, h), out.b...)
		}
	}
	return AppendMessage(dst, messageType, payload)
}

func (f FrameForm) compresses(bytes int) bool { return f.Compressed() && bytes >= int(f.threshold) }

// Compressors have some 1 MB each and keep nothing from one use to the next, so all connections
// share them.
var (
	byLevel  [flate.BestCompression + 1]sync.Pool // with the largest window
	byWindow [wire.MaxWindowBits]sync.Pool        // with a smaller one
)

// flushed is the end of DEFLATE data that was flushed, which does not belong to a message (RFC
// 7692 §7.2.1).
var flushed = []byte{0, 0, 0xff, 0xff}

// pack compresses payload into out, the end of its message if fin is set. It may refer to history.
// If it would have more than limit bytes, pack reports false.
func (f FrameForm) pack(out *packed, history, payload []byte, fin bool, limit int) bool {
	pool := &byLevel[f.level]
	limited := len(history)+len(payload) > 1<<f.windowBits && f.windowBits < wire.MaxWindowBits
	if limited {
		pool = &byWindow[f.windowBits]
	}
	w, _ := pool.Get().(*flate.Writer)
	if w == nil {
		if limited {
			w, _ = flate.NewWriterWindow(nil, 1<<f.windowBits) // which is not out of range,
		} else {
			w, _ = flate.NewWriter(nil, int(f.level)) // nor is this
		}
	}
	defer pool.Put(w)
	out.b = out.b[:0]
	out.room = min(limit, math.MaxInt-len(flushed)) + len(flushed)
	w.ResetDict(out, history)
	if _, err := w.Write(payload); err != nil {
		return false
	}
	if err := w.Flush(); err != nil {
		return false
	}
	if fin {
		out.b = bytes.TrimSuffix(out.b, flushed)
	}
	return len(out.b) <= limit
}

// packed is borrowed memory for compressed data.
type packed struct {
	b    []byte
	room int // how long b may become
}

var packs = sync.Pool{New: func() any { return new(packed) }}

func borrowPacked() *packed { return packs.Get().(*packed) }

func (p *packed) free() {
	if cap(p.b) > bigBufferBytes {
		p.b = nil
	}
	packs.Put(p)
}

var errNoRoom = errors.New("compressed data longer than it may be")

func (p *packed) Write(b []byte) (int, error) {
	if len(b) > p.room-len(p.b) {
		return 0, errNoRoom
	}
	p.b = append(p.b, b...)
	return len(b), nil
}
