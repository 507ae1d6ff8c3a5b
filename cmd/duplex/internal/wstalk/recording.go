package wstalk

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/duplexhq/duplex/cmd/duplex/internal/stdio"
	"github.com/duplexhq/duplex/websocket"
	"github.com/duplexhq/duplex/websocket/wire"
)

// createRecording makes a file that only its owner can read: messages hold
// secrets.
func createRecording(file string) (io.WriteCloser, error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, UsageError("--record: " + err.Error())
	}
	return f, nil
}

// A recording is what was sent and received over one connection, up to its
// first close frame.
type recording struct {
	file   string
	events []recorded
}

// A recorded event is a message, or the close frame that ended it all.
type recorded struct {
	line    int
	at      time.Duration // since the connection was opened
	sent    bool
	message message // not of a close
	closing *entry  // of a close
}

func (r *recorded) described() string {
	if r.closing != nil {
		return describedClose(r.closing.Code, r.closing.Reason)
	}
	return r.message.described()
}

func readRecording(file string) (*recording, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, UsageError("--replay: " + err.Error())
	}
	defer f.Close()
	r := &recording{file: file}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 2*stdio.MaxLine)
	var opened time.Duration
	connections := 0
	for number := 1; lines.Scan(); number++ {
		var e entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, UsageError(fmt.Sprintf("%s:%d: %v", file, number, err))
		}
		if e.Type == entryOpen {
			if connections++; connections > 1 {
				break // the first is what is replayed
			}
			opened = time.Duration(e.At)
		}
		event := recorded{line: number, at: time.Duration(e.At) - opened, sent: e.Direction == sent}
		switch e.Type {
		case websocket.Text.String(), websocket.Binary.String():
			event.message.kind = websocket.Text
			if e.Type == websocket.Binary.String() {
				event.message.kind = websocket.Binary
			}
			if event.message.data, err = e.payload(); err != nil {
				return nil, UsageError(fmt.Sprintf("%s:%d: %v", file, number, err))
			}
		case wire.Close.String():
			event.closing = &e
		default:
			continue
		}
		r.events = append(r.events, event)
		if event.closing != nil {
			break
		}
	}
	return r, lines.Err()
}
