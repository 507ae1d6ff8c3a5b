package websocket

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/duplexhq/duplex/websocket/wire"
)

// AppendMessage appends a message, as one frame of a server, to dst, for [Conn.WriteFrames]. The
// type must be Text or Binary, and text must be UTF-8: neither is checked.
func AppendMessage(dst []byte, messageType MessageType, payload []byte) []byte {
	return wire.AppendFrame(dst, messageType, true, payload)
}

// Prepared is a message that is framed once, and compressed once for each form that connections
// take, to be sent over any number of them.
type Prepared struct {
	messageType MessageType
	frame       []byte
	payload     []byte // the end of frame

	mu    sync.Mutex                      // held by who adds to forms
	forms atomic.Pointer[[]preparedFrame] // replaced, never changed
}

type preparedFrame struct {
	form  FrameForm
	frame []byte
}

// Prepare frames a message. It keeps nothing of payload.
func Prepare(messageType MessageType, payload []byte) (*Prepared, error) {
	if err := checkMessage(messageType, payload); err != nil {
		return nil, err
	}
	frame := AppendMessage(make([]byte, 0, wire.MaxHeaderBytes+len(payload)), messageType, payload)
	return &Prepared{messageType: messageType, frame: frame, payload: frame[len(frame)-len(payload):]}, nil
}

// Frame gives the bytes that a server sends, for [Conn.WriteFrames]. They must not be changed.
func (p *Prepared) Frame() []byte { return slices.Clip(p.frame) }

// FrameIn is [Prepared.Frame] in another form. The first call for a form compresses.
func (p *Prepared) FrameIn(form FrameForm) []byte {
	if !form.compresses(len(p.payload)) {
		return p.Frame()
	}
	if frame := p.made(form); frame != nil {
		return frame
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if frame := p.made(form); frame != nil {
		return frame
	}
	frame := slices.Clip(form.AppendMessage(nil, p.messageType, p.payload))
	var forms []preparedFrame
	if made := p.forms.Load(); made != nil {
		forms = *made
	}
	forms = append(slices.Clip(forms), preparedFrame{form, frame})
	p.forms.Store(&forms)
	return frame
}

// made gives the frame in form, or nil.
func (p *Prepared) made(form FrameForm) []byte {
	if forms := p.forms.Load(); forms != nil {
		for _, f := range *forms {
			if f.form == form {
				return f.frame
			}
		}
	}
	return nil
}

// WritePrepared sends p, with the rules of [Conn.Write]. A client has to compress and mask a copy.
// On a connection whose server has agreed to takeover the shared frame is sent as well, and later
// messages do not refer to what came before it.
func (c *Conn) WritePrepared(ctx context.Context, p *Prepared) error {
	if c.role == wire.Server {
		return c.WriteFrames(ctx, p.FrameIn(c.FrameForm()))
	}
	return c.writeMessage(ctx, p.messageType, p.payload, c.deflate.compresses(len(p.payload)))
}

// AppendPing appends a ping, as a server sends it, to dst, for [Conn.WriteFrames]. Its pong is
// not waited for; it only shows that the peer is there (RFC 6455 §5.5.2).
func AppendPing(dst []byte) []byte { return wire.AppendFrame(dst, wire.Ping, true, nil) }
