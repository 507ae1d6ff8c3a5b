package wstalk

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/duplexhq/duplex/websocket"
	"github.com/duplexhq/duplex/websocket/wire"
)

// An entry is a line of --json and of a recording: something that was sent or
// received, or happened to the connection.
type entry struct {
	At        seconds             `json:"at"`
	Direction string              `json:"direction,omitempty"` // sent or received
	Type      string              `json:"type"`                // one of those below, or the name of an opcode
	Data      *string             `json:"data,omitempty"`
	Base64    string              `json:"base64,omitempty"` // in place of Data, if that would not be text
	Code      websocket.CloseCode `json:"code,omitempty"`
	Reason    string              `json:"reason,omitempty"`

	Subprotocol string      `json:"subprotocol,omitempty"` // of entryOpen
	Frame       *frameEntry `json:"frame,omitempty"`       // of entryFrame
	Failure     *failure    `json:"failure,omitempty"`     // of entryFailed
}

const (
	entryOpen   = "open"   // connected
	entryLost   = "lost"   // the connection ended without a close frame, for this Reason
	entryFrame  = "frame"  // only with --frames
	entryFailed = "failed" // something expected did not come
)

const (
	sent     = "sent"
	received = "received"
)

func direction(isSent bool) string {
	if isSent {
		return sent
	}
	return received
}

// seconds since the beginning, in JSON with microseconds.
type seconds time.Duration

// MarshalJSON implements json.Marshaler.
func (s seconds) MarshalJSON() ([]byte, error) { return []byte(s.String()), nil }

func (s seconds) String() string {
	return strconv.FormatFloat(time.Duration(s).Seconds(), 'f', 6, 64)
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *seconds) UnmarshalJSON(text []byte) error {
	var n float64
	if err := json.Unmarshal(text, &n); err != nil {
		return err
	}
	*s = seconds(n * float64(time.Second))
	return nil
}

func messageEntry(isSent bool, kind websocket.MessageType, data []byte) *entry {
	e := &entry{Direction: direction(isSent), Type: kind.String()}
	if kind == websocket.Text {
		e.Data = new(string(data))
	} else {
		e.Base64 = base64.StdEncoding.EncodeToString(data)
	}
	return e
}

// payload gives the bytes of the entry's message.
func (e *entry) payload() ([]byte, error) {
	if e.Data != nil {
		return []byte(*e.Data), nil
	}
	return base64.StdEncoding.DecodeString(e.Base64)
}

// controlEntry is for a control frame.
func controlEntry(f *websocket.FrameEvent) *entry {
	e := &entry{Direction: direction(f.Sent), Type: f.Opcode.String()}
	switch {
	case f.Opcode == wire.Close:
		e.Code, e.Reason, _ = wire.ParseClose(f.Payload) // 0 for one that is against the protocol
	case utf8.Valid(f.Payload):
		e.Data = new(string(f.Payload))
	default:
		e.Base64 = base64.StdEncoding.EncodeToString(f.Payload)
	}
	return e
}

// detail shows the payload of a control frame to a person.
func (e *entry) detail() string {
	switch {
	case e.Code != 0 && e.Code != websocket.CloseNoStatus:
		return fmt.Sprintf("%d %q", e.Code, e.Reason)
	case e.Data != nil && *e.Data != "":
		return strconv.Quote(*e.Data)
	case e.Base64 != "":
		payload, _ := e.payload() // it was encoded here
		return fmt.Sprintf("% x", payload)
	}
	return ""
}
