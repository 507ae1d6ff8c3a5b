package wire

import (
	"encoding/binary"

	"golang.org/x/net/http2/hpack"
)

// pingData is that of our pings.
const pingData = "duplexh2"

// Field adds a field to the block that SendHeaders or Push sends next, which has
// to follow. The name is in lower case.
func (m *Machine) Field(name, value string, sensitive bool) {
	// A bytes.Buffer takes everything.
	_ = m.encoder.WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: sensitive})
}

// SendHeaders sends the fields that were added: of an answer, of one that comes
// before it (RFC 9110 §15.2), or after its body.
func (m *Machine) SendHeaders(s *Stream, end bool) {
	defer m.encoded.Reset()
	var flags uint8
	if end {
		flags = flagEndStream
	}
	m.sendBlock(frameHeaders, flags, s.id, nil)
	if end {
		s.localEnded = true
		m.settle(s)
	}
}

// begin begins a frame.
func (m *Machine) begin(length int, kind frameType, flags uint8, stream uint32) {
	if need := headerBytes + length; cap(m.Out)-len(m.Out) < need {
		m.Out = m.config.Grow(m.Out, need)
	}
	m.Out = appendHeader(m.Out, length, kind, flags, stream)
}

// sendBlock sends what was encoded, after a prefix of the first frame.
func (m *Machine) sendBlock(kind frameType, flags uint8, stream uint32, prefix []byte) {
	p := m.encoded.Bytes()
	for first := true; first || len(p) > 0; first = false {
		n := min(len(p), MaxFrame-len(prefix))
		if n == len(p) {
			flags |= flagEndHeaders
		}
		m.begin(len(prefix)+n, kind, flags, stream)
		m.Out = append(append(m.Out, prefix...), p[:n]...)
		p = p[n:]
		kind, flags, prefix = frameContinuation, 0, nil
	}
}

// room reports whether DATA may be put into Out.
func (m *Machine) room() bool { return !m.Blocked && !m.failed && len(m.Out) < maxOut && m.send > 0 }

// Offer puts DATA into Out: of p, what there is room for, a frame at most. end
// says that nothing follows p. If not everything was taken, Room follows, and
// the caller offers the rest then.
func (m *Machine) Offer(s *Stream, p []byte, end bool) (taken int) {
	if s.over || s.localEnded {
		return len(p)
	}
	if m.room() {
		taken = max(min(len(p), MaxFrame, int(s.send), int(m.send)), 0)
	}
	s.short = taken < len(p)
	end = end && !s.short // which needs no room
	var flags uint8
	if end {
		flags = flagEndStream
	}
	if taken > 0 || end {
		m.begin(taken, frameData, flags, s.id)
		m.Out = append(m.Out, p[:taken]...)
		s.send -= int32(taken)
		m.send -= int32(taken)
		m.owed = min(m.owed+windowUpdatesPerData, maxOwed)
	}
	m.requeue(s)
	if end {
		s.localEnded = true
		m.settle(s)
	}
	return taken
}

// Fill asks streams that wait for room, as long as there is some.
func (m *Machine) Fill() {
	for m.room() {
		s := m.ready.take()
		if s == nil {
			return
		}
		m.events.Room(s)
	}
}

// Waiting reports whether Fill has something to do once Out was taken.
func (m *Machine) Waiting() bool { return m.send > 0 && !m.failed && !m.ready.empty() }

// Reset ends a stream. NoError is for one whose answer is complete: the rest of
// the request is not wanted (RFC 9113 §8.1).
func (m *Machine) Reset(s *Stream, code Code) {
	if !s.over {
		m.end(s)
		m.sendReset(s.id, code)
	}
}

func (m *Machine) sendReset(id uint32, code Code) {
	m.drop(id)
	m.begin(4, frameReset, 0, id)
	m.Out = binary.BigEndian.AppendUint32(m.Out, uint32(code))
}

// Consume gives the peer back what it may send of a body.
func (m *Machine) Consume(s *Stream, n int) {
	m.giveBack(int32(n))
	if s.over || s.remoteEnded {
		return
	}
	if s.consumed += int32(n); int(s.consumed) >= m.config.StreamWindow/4 {
		m.sendWindowUpdate(s.id, int(s.consumed))
		s.receive += s.consumed
		s.consumed = 0
	}
}

// giveBack is Consume for the connection.
func (m *Machine) giveBack(n int32) {
	if m.consumed += n; int(m.consumed) >= m.config.ConnectionWindow/4 {
		m.sendWindowUpdate(0, int(m.consumed))
		m.receive += m.consumed
		m.consumed = 0
	}
}

func (m *Machine) sendWindowUpdate(stream uint32, more int) {
	m.begin(4, frameWindow, 0, stream)
	m.Out = binary.BigEndian.AppendUint32(m.Out, uint32(more))
}

// Ping asks for Events.Pong.
func (m *Machine) Ping() {
	m.begin(8, framePing, 0, 0)
	m.Out = append(m.Out, pingData...)
}

// Announce tells the peer to begin no more streams. Those that are under way
// are still taken: Depart follows when it must have heard of it (RFC 9113
// §6.8).
func (m *Machine) Announce() { m.goAway(maxStreamID, NoError, "") }

// Depart passes over all streams that have not begun.
func (m *Machine) Depart() {
	if m.accept == maxStreamID {
		m.accept = m.last
		m.goAway(m.last, NoError, "")
	}
}

func (m *Machine) goAway(last uint32, code Code, reason string) {
	m.begin(8+len(reason), frameGoAway, 0, 0)
	m.Out = binary.BigEndian.AppendUint32(m.Out, last)
	m.Out = binary.BigEndian.AppendUint32(m.Out, uint32(code))
	m.Out = append(m.Out, reason...)
}

// CanPush reports whether the client allows one more push.
func (m *Machine) CanPush() bool {
	pushes := len(m.streams) - m.remote
	return m.peer.push && !m.left && m.accept == maxStreamID && pushes < int(min(m.peer.maxStreams, uint32(m.config.MaxStreams))) && m.pushed < maxStreamID-2
}

// Push promises the answer to the request whose fields were added (RFC 9113
// §8.4). CanPush must have been asked.
func (m *Machine) Push(parent *Stream) *Stream {
	defer m.encoded.Reset()
	m.pushed += 2
	s := &Stream{id: m.pushed, send: m.peer.window, missing: -1, priority: Priority{Urgency: defaultUrgency}, remoteEnded: true}
	m.streams[s.id] = s
	m.sendBlock(framePush, 0, parent.id, binary.BigEndian.AppendUint32(nil, s.id))
	return s
}
