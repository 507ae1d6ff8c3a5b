package wstalk

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/duplexhq/duplex/cmd/duplex/internal/stdio"
	"github.com/duplexhq/duplex/websocket"
	"github.com/duplexhq/duplex/websocket/wire"
)

// A transcript tells what happens on a connection: to a person or, with json,
// to a program, and to a recording. Any goroutine may call its methods.
type transcript struct {
	out     io.Writer // messages or, with json, everything
	notes   io.Writer
	began   time.Time
	json    bool
	frames  bool
	verbose bool
	record  io.Writer   // may be nil
	failed  func(error) // called when something could not be written

	mu     sync.Mutex // guards what follows, and the order of what is written
	prompt string     // shown where a person may type
	peer   *entry     // the close frame of the peer
	err    error      // the first of those given to failed
}

// The parts of what is written for an entry.
type lines struct {
	out  string // a message, for standard output
	note string // anything else
}

// add completes an entry, and writes it where it belongs.
func (t *transcript) add(e *entry, show func(*entry) lines) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e.At = seconds(time.Since(t.began))
	var line []byte
	if t.json || t.record != nil {
		line = append(stdio.JSON(e), '\n')
	}
	if t.record != nil && e.Frame == nil {
		_, err := t.record.Write(line)
		t.keep(err, "record")
	}
	if t.json {
		t.write(lines{out: string(line)})
	} else if show != nil {
		t.write(show(e))
	}
}

// write is called with mu held.
func (t *transcript) write(l lines) {
	if l == (lines{}) {
		return
	}
	if t.prompt != "" {
		io.WriteString(t.notes, stdio.EraseLine) // the prompt
		if l.out != "" {
			l.out = "< " + l.out
		}
	}
	if l.out != "" {
		_, err := io.WriteString(t.out, l.out)
		t.keep(err, "print")
	}
	io.WriteString(t.notes, l.note+t.prompt) // nobody to tell
}

// keep is called with mu held.
func (t *transcript) keep(err error, what string) {
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("%s: %w", what, err)
		t.failed(t.err)
	}
}

// failure is why something could not be written, or nil.
func (t *transcript) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// note tells a person something.
func (t *transcript) note(format string, values ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.write(lines{note: fmt.Sprintf("duplex: "+format+"\n", values...)})
}

// ask shows the prompt, from now on after everything else.
func (t *transcript) ask() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prompt = "> "
	io.WriteString(t.notes, stdio.EraseLine+t.prompt) // it may be there already
}

// askNoMore takes the prompt away.
func (t *transcript) askNoMore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.prompt != "" {
		t.prompt = ""
		io.WriteString(t.notes, stdio.EraseLine)
	}
}

// answered tells of the server's answer to the handshake.
func (t *transcript) answered(response *http.Response) {
	if !t.verbose {
		return
	}
	t.note("%s %s", response.Proto, stdio.Printable(response.Status))
	for _, name := range slices.Sorted(maps.Keys(response.Header)) {
		for _, value := range response.Header[name] {
			t.note("%s: %s", name, stdio.Printable(value))
		}
	}
}

func (t *transcript) opened(subprotocol string) {
	t.mu.Lock()
	t.peer = nil
	t.mu.Unlock()
	t.add(&entry{Type: entryOpen, Subprotocol: subprotocol}, func(*entry) lines {
		if subprotocol != "" {
			return lines{note: "duplex: connected, subprotocol " + subprotocol + "\n"}
		}
		return lines{note: "duplex: connected\n"}
	})
}

func (t *transcript) message(isSent bool, kind websocket.MessageType, data []byte) {
	t.add(messageEntry(isSent, kind, data), func(*entry) lines {
		switch {
		case isSent:
			return lines{}
		case kind == websocket.Text:
			return lines{out: stdio.Printable(string(data)) + "\n"}
		}
		return lines{out: dump(data)}
	})
}

// dump shows the beginning of a binary message.
func dump(data []byte) string {
	const most = 1 << 10
	text := fmt.Sprintf("(%d bytes)\n%s", len(data), hex.Dump(data[:min(len(data), most)]))
	if len(data) > most {
		text += fmt.Sprintf("... and %d bytes more\n", len(data)-most)
	}
	return text
}

// frame is the observer of a connection.
func (t *transcript) frame(f websocket.FrameEvent) {
	if t.frames {
		t.add(newFrameEntry(&f), func(e *entry) lines { return lines{note: e.frameLine()} })
	}
	if !f.Opcode.Control() {
		return
	}
	e := controlEntry(&f)
	t.add(e, func(*entry) lines {
		if !t.verbose || t.frames {
			return lines{}
		}
		return lines{note: strings.TrimSuffix(fmt.Sprintf("duplex: %s %s: %s", e.Type, e.Direction, e.detail()), ": ") + "\n"}
	})
	if f.Opcode == wire.Close && !f.Sent {
		t.mu.Lock()
		t.peer = e
		t.mu.Unlock()
	}
}

// peerClose gives the close frame of the peer, or nil.
func (t *transcript) peerClose() *entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peer
}

// lost tells of an end without a close frame. Others have been seen as frames.
func (t *transcript) lost(err error) {
	if _, ok := errors.AsType[*websocket.CloseError](err); ok {
		return
	}
	t.add(&entry{Type: entryLost, Reason: err.Error()}, nil)
}

// fail tells of a failure, and gives it back.
func (t *transcript) fail(f *failure) error {
	t.add(&entry{Type: entryFailed, Failure: f}, nil)
	return f
}

// ended tells of an end that is in order. It gives all other errors back.
func (t *transcript) ended(err error) error {
	e, ok := errors.AsType[*websocket.CloseError](err)
	if !ok {
		return err
	}
	switch e.Code {
	case websocket.CloseNormal, websocket.CloseGoingAway, websocket.CloseNoStatus:
	default:
		return err
	}
	if !t.json {
		t.note("closed by the server: %s", describedClose(e.Code, e.Reason))
	}
	return nil
}
