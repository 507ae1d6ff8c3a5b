package view

import (
	"github.com/duplexhq/duplex/sse"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/websocket"
)

// The forms of events: what the transports' bytes are (PROTOCOL.md §5, §8).
// They are compared by identity, so each is one value.
var (
	formEventStream topic.Form = eventStream{}
	formEnveloped   topic.Form = enveloped{}
	formLines       topic.Form = lines{}
	formMessages    topic.Form = messages{}
	formEnvelopes   topic.Form = envelopes{}
)

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

// messages is a WebSocket message with the bare data. Its only signal is a
// WebSocket ping: an end and a gap close the connection.
type messages struct{}

func (messages) AppendEvent(dst []byte, e *topic.Event) []byte {
	if e.Kind == topic.Binary {
		return websocket.AppendMessage(dst, websocket.Binary, e.Data)
	}
	return websocket.AppendMessage(dst, websocket.Text, e.Data)
}

func (messages) AppendSignal(dst []byte, s topic.Signal) []byte {
	if s.Type == topic.TypePing {
		return websocket.AppendPing(dst)
	}
	return dst
}

// envelopes is a WebSocket text message with the event in JSON. A WebSocket
// ping goes with $ping: browsers answer it, so a dead peer is noticed.
type envelopes struct{}

func (envelopes) AppendEvent(dst []byte, e *topic.Event) []byte {
	return websocket.AppendMessage(dst, websocket.Text, topic.AppendJSON(nil, e))
}

func (envelopes) AppendSignal(dst []byte, s topic.Signal) []byte {
	dst = websocket.AppendMessage(dst, websocket.Text, topic.AppendSignalJSON(nil, s))
	if s.Type == topic.TypePing {
		dst = websocket.AppendPing(dst)
	}
	return dst
}
