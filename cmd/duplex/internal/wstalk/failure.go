package wstalk

import (
	"errors"
	"fmt"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// A failure is a step of a script, or an answer in a recording, that did not
// come true. It hides what it is made of: it always ends with exit code 1.
type failure struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Step     string `json:"step,omitempty"`
	Expected string `json:"expected,omitempty"`
	Got      string `json:"got"`
}

func (f *failure) Error() string {
	text := fmt.Sprintf("%s:%d: ", f.File, f.Line)
	if f.Step != "" {
		text += f.Step + ": "
	}
	if f.Expected == "" {
		return text + f.Got
	}
	return text + "expected " + f.Expected + ", got " + f.Got
}

// A mismatch is the part of a failure that does not depend on where it is.
type mismatch struct{ expected, got string }

func (m *mismatch) Error() string { return "expected " + m.expected + ", got " + m.got }

// described shows a message in a failure, on one line.
func (m *message) described() string {
	const most = 500
	data, more := m.data, ""
	if len(data) > most {
		data, more = data[:most], fmt.Sprintf("... (%d bytes)", len(m.data))
	}
	if m.kind == websocket.Text {
		return fmt.Sprintf("text %q%s", data, more)
	}
	return fmt.Sprintf("binary % x%s", data, more)
}

// describedEnd shows in a failure why there was no message.
func describedEnd(err error, limit time.Duration) string {
	if errors.Is(err, errNothingCame) {
		return fmt.Sprintf("nothing in %v", limit)
	}
	if e, ok := errors.AsType[*websocket.CloseError](err); ok && e.Remote {
		return describedClose(e.Code, e.Reason)
	}
	return err.Error()
}

func describedClose(code websocket.CloseCode, reason string) string {
	if reason == "" {
		return fmt.Sprintf("close %d", code)
	}
	return fmt.Sprintf("close %d %q", code, reason)
}
