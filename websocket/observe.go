package websocket

import (
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// FrameEvent is a frame on its way in or out, as [Options].Observe sees it.
type FrameEvent struct {
	Time   time.Time // when its header was complete, or just before it is written
	Sent   bool
	Fin    bool
	RSV    byte // wire.RSV1, RSV2 and RSV3, or'ed
	Opcode wire.Opcode
	Masked bool
	Length int64

	// Payload of a control frame, unmasked. It must not be changed, nor kept.
	Payload []byte
}

// observed tells the hook, which is not nil, of a frame.
func (c *Conn) observed(sent bool, h wire.Header, payload []byte) {
	c.observe(newFrameEvent(sent, h, payload))
}

func newFrameEvent(sent bool, h wire.Header, payload []byte) FrameEvent {
	event := FrameEvent{
		Time:   time.Now(),
		Sent:   sent,
		Fin:    h.Fin,
		RSV:    h.RSV,
		Opcode: h.Opcode,
		Masked: h.Masked,
		Length: h.Length,
	}
	if h.Opcode.Control() {
		event.Payload = payload
	}
	return event
}

func (c *Conn) observedReceived(payload []byte) { c.observed(false, c.in.machine.Header(), payload) }

// observedFrames tells the hook of frames that are encoded already, and not masked.
func (c *Conn) observedFrames(frames []byte) { observeFrames(c.observe, frames) }

func observeFrames(observe func(FrameEvent), frames []byte) {
	for len(frames) > 0 {
		h, n, err := wire.ParseHeader(frames)
		if err != nil || n == 0 || h.Length > int64(len(frames)-n) {
			return
		}
		observe(newFrameEvent(true, h, frames[n:n+int(h.Length)]))
		frames = frames[n+int(h.Length):]
	}
}
