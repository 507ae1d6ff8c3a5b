package view

import (
	"strconv"

	"github.com/duplexhq/duplex/sse"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/websocket"
)

// The forms of events: what the transports' bytes are (PROTOCOL.md §5, §8). For
// WebSocket there is a messages and an envelopes for each frame form.
var (
	formEventStream topic.Form = eventStream{}
	formEnveloped   topic.Form = enveloped{}
	formLines       topic.Form = lines{}
	formItems       topic.Form = items{}
)

// chunkedForms are the forms of streams as chunks of an HTTP/1.1 body.
var chunkedForms = func() map[topic.Form]topic.Form {
	forms := []topic.Form{
		formEventStream, formEnveloped, formLines, calls{}, calls{one: true},
		parts{}, parts{one: true}, parts{twice: true}, parts{twice: true, one: true}, parts{envelope: true}, parts{envelope: true, one: true},
	}
	m := make(map[topic.Form]topic.Form, len(forms))
	for _, f := range forms {
		m[f] = &chunked{f}
	}
	return m
}()

// chunked makes each event a chunk (RFC 9112 §7.1).
type chunked struct{ topic.Form }

func (f *chunked) AppendEvent(dst []byte, e *topic.Event) []byte {
	return f.frame(dst, f.Form.AppendEvent(nil, e))
}

func (f *chunked) AppendSignal(dst []byte, s topic.Signal) []byte {
	return f.frame(dst, f.Form.AppendSignal(nil, s))
}

func (*chunked) frame(dst, data []byte) []byte {
	if len(data) == 0 {
		return dst // it would be the last chunk
	}
	return appendChunk(dst, data)
}

func appendChunk(dst, data []byte) []byte {
	dst = strconv.AppendInt(dst, int64(len(data)), 16)
	dst = append(dst, "\r\n"...)
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}

// eventStream is an event stream block with the bare data.
type eventStream struct{}

func (eventStream) AppendEvent(dst []byte, e *topic.Event) []byte {
	if e.Kind == topic.Binary {
		return appendBlock(dst, e.ID.String(), e.Type, topic.AppendDataURL(nil, e.Media, e.Data))
	}
	return appendBlock(dst, e.ID.String(), e.Type, e.Data)
}

func (eventStream) AppendSignal(dst []byte, s topic.Signal) []byte {
	return appendBlock(dst, cursorText(s.Cursor), s.Type, s.Data)
}

// enveloped is an event stream block whose data is the event in JSON.
type enveloped struct{}

func (enveloped) AppendEvent(dst []byte, e *topic.Event) []byte {
	return appendBlock(dst, e.ID.String(), e.Type, topic.AppendJSON(nil, e))
}

func (enveloped) AppendSignal(dst []byte, s topic.Signal) []byte {
	return appendBlock(dst, cursorText(s.Cursor), s.Type, topic.AppendSignalJSON(nil, s))
}

func appendBlock(dst []byte, id, typ string, data []byte) []byte {
	dst, err := sse.Append(dst, id, typ, data)
	if err != nil {
		panic(err) // ids are our own, and no type that breaks a line is published
	}
	return dst
}

func cursorText(c topic.Cursor) string {
	if c.Epoch == 0 {
		return ""
	}
	return c.String()
}

// lines is one JSON event per line; pages are made of its lines, too.
type lines struct{}

func (lines) AppendEvent(dst []byte, e *topic.Event) []byte {
	return append(topic.AppendJSON(dst, e), '\n')
}

func (lines) AppendSignal(dst []byte, s topic.Signal) []byte {
	return append(topic.AppendSignalJSON(dst, s), '\n')
}

// maxCompressed is the length up to which a message is compressed: all wait for
// it while that is done.
const maxCompressed = 64 << 10

func appendMessage(dst []byte, form websocket.FrameForm, messageType websocket.MessageType, payload []byte) []byte {
	if len(payload) > maxCompressed {
		form = websocket.FrameForm{}
	}
	return form.AppendMessage(dst, messageType, payload)
}

// messages is a WebSocket message with the bare data. Its only signal is a
// WebSocket ping: an end and a gap close the connection.
type messages struct{ frame websocket.FrameForm }

func (f messages) AppendEvent(dst []byte, e *topic.Event) []byte {
	if e.Kind == topic.Binary {
		return appendMessage(dst, f.frame, websocket.Binary, e.Data)
	}
	return appendMessage(dst, f.frame, websocket.Text, e.Data)
}

func (messages) AppendSignal(dst []byte, s topic.Signal) []byte {
	if s.Type == topic.TypePing {
		return websocket.AppendPing(dst)
	}
	return dst
}

// envelopes is a WebSocket text message with the event in JSON. A WebSocket
// ping goes with $ping: browsers answer it, so a dead peer is noticed.
type envelopes struct{ frame websocket.FrameForm }

func (f envelopes) AppendEvent(dst []byte, e *topic.Event) []byte {
	return appendMessage(dst, f.frame, websocket.Text, topic.AppendJSON(nil, e))
}

func (envelopes) AppendSignal(dst []byte, s topic.Signal) []byte {
	dst = websocket.AppendMessage(dst, websocket.Text, topic.AppendSignalJSON(nil, s))
	if s.Type == topic.TypePing {
		dst = websocket.AppendPing(dst)
	}
	return dst
}
