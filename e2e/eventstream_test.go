//go:build e2e

package e2e

import (
	"bufio"
	"strings"
)

// A message of an event stream, by the WHATWG's rules and not by the project's
// own parser.
type message struct{ event, id, data string }

// readMessage returns the next message. One that the end cut off is lost.
func readMessage(r *bufio.Reader) (message, error) {
	m := message{event: "message"}
	var data []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return message{}, err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			if data == nil {
				m = message{event: "message"} // it is not dispatched
				continue
			}
			m.data = strings.Join(data, "\n")
			return m, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			m.event = value
		case "id":
			m.id = value
		case "data":
			data = append(data, value)
		}
	}
}

func (m message) isSignal() bool { return strings.HasPrefix(m.event, "$") }

// messagesOf parses what has come of a stream so far, signals left out.
func messagesOf(text string) []record {
	r := bufio.NewReader(strings.NewReader(text))
	var records []record
	for {
		m, err := readMessage(r)
		if err != nil {
			return records
		}
		if !m.isSignal() {
			records = append(records, record{m.id, m.data})
		}
	}
}
