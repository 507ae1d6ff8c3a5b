package wstalk

import (
	"fmt"
	"strings"

	"github.com/duplexhq/duplex/websocket"
	"github.com/duplexhq/duplex/websocket/wire"
)

// A frameEntry is what --frames shows beside direction, payload and close code.
type frameEntry struct {
	Fin    bool   `json:"fin"`
	RSV    []int  `json:"rsv,omitempty"` // the reserved bits that are set: 1, 2, 3
	Opcode string `json:"opcode"`
	Masked bool   `json:"masked"`
	Length int64  `json:"length"`
}

func newFrameEntry(f *websocket.FrameEvent) *entry {
	e := &entry{Direction: direction(f.Sent)}
	if f.Opcode.Control() {
		e = controlEntry(f)
	}
	e.Type = entryFrame
	e.Frame = &frameEntry{Fin: f.Fin, Opcode: f.Opcode.String(), Masked: f.Masked, Length: f.Length}
	for i, bit := range []byte{wire.RSV1, wire.RSV2, wire.RSV3} {
		if f.RSV&bit != 0 {
			e.Frame.RSV = append(e.Frame.RSV, i+1)
		}
	}
	return e
}

// frameLine shows the entry of a frame to a person.
func (e *entry) frameLine() string {
	var b strings.Builder
	arrow := "<-"
	if e.Direction == sent {
		arrow = "->"
	}
	fmt.Fprintf(&b, "%s %s", e.At, arrow)
	if e.Frame.Fin {
		b.WriteString(" FIN")
	}
	for _, bit := range e.Frame.RSV {
		fmt.Fprintf(&b, " RSV%d", bit)
	}
	b.WriteString(" " + e.Frame.Opcode)
	if e.Frame.Masked {
		b.WriteString(" masked")
	}
	fmt.Fprintf(&b, " %d bytes", e.Frame.Length)
	if detail := e.detail(); detail != "" {
		b.WriteString(": " + detail)
	}
	b.WriteByte('\n')
	return b.String()
}
