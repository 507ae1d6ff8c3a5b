package wire

import "slices"

// A Stream is a request and its answer.
type Stream struct {
	Owner any // the caller's

	id       uint32
	send     int32 // window for what we send
	receive  int32 // window that the peer has left
	consumed int32 // of it, and not given back yet
	missing  int64 // bytes that were announced and did not come; -1 if nothing was
	priority Priority
	next     *Stream // in a list of ready

	remoteEnded bool // END_STREAM came
	localEnded  bool // END_STREAM was sent
	short       bool // the last Offer was
	queued      bool // in ready
	over        bool // the machine does not know it any more
}

// ID is its number.
func (s *Stream) ID() uint32 { return s.id }

// Over reports whether nothing can be sent or received any more.
func (s *Stream) Over() bool { return s.over }

// RemoteEnded reports whether the peer has sent all.
func (s *Stream) RemoteEnded() bool { return s.remoteEnded }

// LocalEnded reports whether the answer is complete.
func (s *Stream) LocalEnded() bool { return s.localEnded }

// Priority is what its client has asked for, or Machine.Prioritize has set.
func (s *Stream) Priority() Priority { return s.priority }

// end forgets a stream.
func (m *Machine) end(s *Stream) {
	if s.over {
		return
	}
	s.over = true
	delete(m.streams, s.id)
	if s.id%2 == 1 {
		m.remote--
	}
}

// settle forgets a stream that both sides have ended.
func (m *Machine) settle(s *Stream) {
	if s.localEnded && s.remoteEnded {
		m.end(s)
	}
}

// streamFault ends a stream because of what the peer has done (RFC 9113
// §5.4.2).
func (m *Machine) streamFault(id uint32, code Code) *Fault {
	s := m.streams[id]
	m.sendReset(id, code)
	if s != nil {
		m.end(s)
		m.events.Reset(s, code)
	}
	return m.glitch()
}

// drop notes that the peer may not know yet that a stream is over.
func (m *Machine) drop(id uint32) {
	m.dropped[m.drops%len(m.dropped)] = id
	m.drops++
}

// isDropped reports whether a stream that is over may still be sent to.
func (m *Machine) isDropped(id uint32) bool {
	return slices.Contains(m.dropped[:], id) || id > m.accept
}
