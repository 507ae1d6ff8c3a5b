package load

import "bytes"

const maxLineBytes = 16 << 20

// lines cuts a stream into lines that end with LF; a CR before it goes too.
type lines struct{ held []byte }

// next gives the next line, which holds until the call after it.
func (s *lines) next(b []byte) (line, rest []byte, ok bool) {
	line, rest, ok = bytes.Cut(b, []byte("\n"))
	if !ok {
		s.held = append(s.held, b...)
		return nil, nil, false
	}
	if len(s.held) > 0 {
		line = append(s.held, line...)
		s.held = line[:0]
	}
	return bytes.TrimSuffix(line, []byte("\r")), rest, true
}

// eventStream finds the data of events in a text/event-stream.
type eventStream struct {
	signal bool // its type begins with $: it is none of ours
	gap    bool // $gap was there; for the caller to reset
	data   []byte
	id     []byte // the newest
}

// line takes a line, and gives the data of an event that is complete with it.
// It holds until the next call.
func (s *eventStream) line(line []byte) (data []byte, ok bool) {
	switch {
	case len(line) == 0:
		data, ok = s.data, len(s.data) > 0 && !s.signal
		s.data, s.signal = s.data[:0], false
		return data, ok
	case bytes.HasPrefix(line, []byte("data:")):
		s.data = append(s.data, bytes.TrimPrefix(line[len("data:"):], []byte(" "))...)
	case bytes.HasPrefix(line, []byte("id:")):
		s.id = append(s.id[:0], bytes.TrimPrefix(line[len("id:"):], []byte(" "))...)
	case bytes.HasPrefix(line, []byte("event:")):
		name := bytes.TrimPrefix(line[len("event:"):], []byte(" "))
		s.signal = bytes.HasPrefix(name, []byte("$"))
		s.gap = s.gap || string(name) == "$gap"
	}
	return nil, false
}
