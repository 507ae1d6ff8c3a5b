package wire

import (
	"encoding/binary"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// A Priority says how soon a client wants an answer (RFC 9218 §4).
type Priority struct {
	Urgency uint8 // 0 to 7: the lower, the sooner
	// Incremental: of use in pieces. Answers that are not, and have the same
	// urgency, are sent one after the other.
	Incremental bool
}

const (
	lowestUrgency  = 7
	defaultUrgency = 3
)

// ParsePriority reads the field "priority", a dictionary of RFC 8941 §3.2. What
// it does not know, or is not as it should be, it passes over (RFC 9218 §4).
func ParsePriority(text string) Priority {
	p := Priority{Urgency: defaultUrgency}
	for member := range strings.SplitSeq(text, ",") {
		member, _, _ = strings.Cut(member, ";") // parameters
		key, value, valued := strings.Cut(strings.Trim(member, " \t"), "=")
		switch key {
		case "u":
			if u, err := strconv.ParseUint(value, 10, 8); err == nil && len(value) == 1 && u <= lowestUrgency {
				p.Urgency = uint8(u)
			}
		case "i":
			if !valued || value == "?1" {
				p.Incremental = true
			} else if value == "?0" {
				p.Incremental = false
			}
		}
	}
	return p
}

// early is a priority of a stream that has not begun.
type early struct {
	stream uint32
	Priority
}

func (m *Machine) takePriority(h frameHeader, p []byte) *Fault {
	switch {
	case h.stream == 0:
		return fault(ProtocolError, "PRIORITY of no stream")
	case len(p) != 5 && m.idle(h.stream):
		return fault(FrameSizeError, "PRIORITY")
	case len(p) != 5:
		return m.streamFault(h.stream, FrameSizeError)
	case binary.BigEndian.Uint32(p)&maxStreamID == h.stream:
		if m.idle(h.stream) {
			return fault(ProtocolError, "a stream that depends on itself")
		}
		return m.streamFault(h.stream, ProtocolError) // RFC 7540 §5.3.1
	}
	return m.glitch() // RFC 9113 §5.3.2: deprecated
}

func (m *Machine) takePriorityUpdate(h frameHeader, p []byte) *Fault {
	switch {
	case h.stream != 0:
		return fault(ProtocolError, "PRIORITY_UPDATE of a stream") // RFC 9218 §7.1, as all of this
	case len(p) < 4:
		return fault(FrameSizeError, "PRIORITY_UPDATE")
	}
	id := binary.BigEndian.Uint32(p) & maxStreamID
	priority := ParsePriority(string(p[4:]))
	switch s := m.streams[id]; {
	case id == 0 || id%2 == 0 && m.idle(id):
		return fault(ProtocolError, "PRIORITY_UPDATE of no stream")
	case s != nil:
		m.Prioritize(s, priority)
	case m.idle(id):
		m.keepEarly(id, priority)
	}
	return m.glitch()
}

// Prioritize sets the priority of what a stream sends from now on.
func (m *Machine) Prioritize(s *Stream, p Priority) {
	waits := s.queued
	if waits {
		m.ready.remove(s)
	}
	s.priority = p
	if waits {
		m.ready.put(s)
	}
}

func (m *Machine) keepEarly(id uint32, p Priority) {
	for i := range m.early {
		if m.early[i].stream == id {
			m.early[i].Priority = p
			return
		}
	}
	if len(m.early) < maxEarly {
		m.early = append(m.early, early{id, p})
	}
}

// priorityOf gives that of a new stream: an update counts more than a field.
func (m *Machine) priorityOf(id uint32, fields []hpack.HeaderField) Priority {
	p := Priority{Urgency: defaultUrgency}
	for _, f := range fields {
		if f.Name == "priority" {
			p = ParsePriority(f.Value)
		}
	}
	kept := m.early[:0]
	for _, e := range m.early {
		if e.stream == id {
			p = e.Priority
		} else if e.stream > id {
			kept = append(kept, e)
		}
	}
	if m.early = kept; len(kept) == 0 {
		m.early = nil
	}
	return p
}
