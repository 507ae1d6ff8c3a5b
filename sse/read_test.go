package sse

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// Events stay as they were when later ones are read.
func TestRead(t *testing.T) {
	const in = "id: 1\ndata: first\n\nretry: 5\ndata: other\n\ndata: cut off"
	for name, r := range map[string]io.Reader{
		"at once":        strings.NewReader(in),
		"byte by byte":   iotest.OneByteReader(strings.NewReader(in)),
		"EOF with data":  iotest.DataErrReader(strings.NewReader(in)),
		"half by halves": iotest.HalfReader(strings.NewReader(in)),
	} {
		p := new(Parser)
		var events []Event
		for event, err := range Read(r, p) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			events = append(events, event)
		}
		if len(events) != 2 || string(events[0].Data) != "first" || string(events[1].Data) != "other" {
			t.Errorf("%s: got %q", name, events)
		}
		if p.LastEventID != "1" || p.Retry != 5e6 {
			t.Errorf("%s: to go on after %q in %v", name, p.LastEventID, p.Retry)
		}
	}
}

// A failing read is the last step, after the events that came before it.
func TestReadFails(t *testing.T) {
	broken := errors.New("broken")
	r := io.MultiReader(strings.NewReader("data: a\n\ndata: cut off"), iotest.ErrReader(broken))
	var steps []string
	for event, err := range Read(r, nil) {
		if err != nil {
			steps = append(steps, err.Error())
			continue
		}
		steps = append(steps, string(event.Data))
	}
	if got := strings.Join(steps, ","); got != "a,broken" {
		t.Errorf("steps %q", got)
	}
}
