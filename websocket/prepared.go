package websocket

import (
	"context"
	"slices"

	"github.com/duplexhq/duplex/websocket/wire"
)

// AppendMessage appends a message, as one frame of a server, to dst, for [Conn.WriteFrames]. The
// type must be Text or Binary, and text must be UTF-8: neither is checked.
func AppendMessage(dst []byte, messageType MessageType, payload []byte) []byte {
	return wire.AppendFrame(dst, messageType, true, payload)
}

// Prepared is a message that is framed once, to be sent over any number of connections.
type Prepared struct {
	messageType MessageType
	frame       []byte
	payload     []byte // the end of frame
}

// Prepare frames a message. It keeps nothing of payload.
func Prepare(messageType MessageType, payload []byte) (*Prepared, error) {
	if err := checkMessage(messageType, payload); err != nil {
		return nil, err
	}
	frame := AppendMessage(make([]byte, 0, wire.MaxHeaderBytes+len(payload)), messageType, payload)
	return &Prepared{messageType, frame, frame[len(frame)-len(payload):]}, nil
}

// Frame gives the bytes that a server sends, for [Conn.WriteFrames]. They must not be changed.
func (p *Prepared) Frame() []byte { return slices.Clip(p.frame) }

// WritePrepared sends p, with the rules of [Conn.Write]. A client has to mask a copy.
func (c *Conn) WritePrepared(ctx context.Context, p *Prepared) error {
	if c.role == wire.Server {
		return c.WriteFrames(ctx, p.frame)
	}
	return c.writeMessage(ctx, p.messageType, p.payload)
}

// AppendPing appends a ping, as a server sends it, to dst, for [Conn.WriteFrames]. Its pong is
// not waited for; it only shows that the peer is there (RFC 6455 §5.5.2).
func AppendPing(dst []byte) []byte { return wire.AppendFrame(dst, wire.Ping, true, nil) }
