package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/duplexhq/duplex/cmd/duplex/internal/stdio"
	"github.com/duplexhq/duplex/topic"
)

// humanLine shows an event, or a signal, to a person.
func humanLine(e *topic.Envelope) []byte {
	when, data := e.Time, string(e.Data)
	if when.IsZero() {
		when = time.Now()
	}
	if e.Kind == topic.Binary {
		data = fmt.Sprintf("(%d bytes of %s)", len(e.Data), e.Media)
	}
	return fmt.Appendf(nil, "%s  %s  %s  %s\n", when.Local().Format("15:04:05.000"),
		stdio.Printable(cmp.Or(e.Topic, "-")), stdio.Printable(cmp.Or(e.Type, topic.TypeMessage)), stdio.Printable(data))
}

// jsonLine writes an event or a signal as the protocol does (PROTOCOL.md §3.4,
// §6.1).
func jsonLine(e *topic.Envelope) []byte {
	line := struct {
		ID     string          `json:"id,omitempty"`
		Topic  string          `json:"topic,omitempty"`
		Event  string          `json:"event,omitempty"`
		Media  string          `json:"media,omitempty"`
		Data   json.RawMessage `json:"data"`
		Binary bool            `json:"binary,omitempty"`
		Time   *time.Time      `json:"time,omitempty"`
	}{ID: e.ID, Topic: e.Topic, Event: e.Type, Media: e.Media}
	switch e.Kind {
	case topic.JSON:
		line.Data = e.Data
	case topic.Text:
		line.Data = stdio.JSON(string(e.Data))
	case topic.Binary:
		line.Data = stdio.JSON(string(topic.AppendDataURL(nil, e.Media, e.Data)))
		line.Binary = true
	}
	if !e.Time.IsZero() {
		line.Time = &e.Time
	}
	return append(stdio.JSON(line), '\n')
}
