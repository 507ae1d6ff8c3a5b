package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

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
		printable(cmp.Or(e.Topic, "-")), printable(cmp.Or(e.Type, topic.TypeMessage)), printable(data))
}

// printable keeps what strangers published from commanding the terminal, and
// on one line.
func printable(s string) string {
	if !strings.ContainsFunc(s, isCommand) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case isCommand(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isCommand reports whether a terminal may obey the character.
func isCommand(r rune) bool { return r != '\t' && unicode.IsControl(r) }

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
		line.Data = marshal(string(e.Data))
	case topic.Binary:
		line.Data = marshal(string(topic.AppendDataURL(nil, e.Media, e.Data)))
		line.Binary = true
	}
	if !e.Time.IsZero() {
		line.Time = &e.Time
	}
	return append(marshal(line), '\n')
}

// marshal is json.Marshal that leaves <, > and & as they are.
func marshal(v any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(err) // it gets strings, and JSON that was parsed
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
