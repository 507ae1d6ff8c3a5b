package wire

import (
	"encoding/binary"
	"slices"
)

func (m *Machine) read(p []byte) *Fault {
	if m.preface < len(Preface) {
		n := min(len(p), len(Preface)-m.preface)
		if string(p[:n]) != Preface[m.preface:m.preface+n] {
			return fault(ProtocolError, "bad preface")
		}
		m.preface += n
		p = p[n:]
	}
	for len(m.partial) > 0 && len(p) > 0 && !m.failed { // a frame has begun
		want := headerBytes
		if len(m.partial) >= headerBytes {
			want += parseHeader(m.partial).length
		}
		n := min(len(p), want-len(m.partial))
		m.partial = append(m.partial, p[:n]...)
		p = p[n:]
		if len(m.partial) < want {
			return nil
		}
		h := parseHeader(m.partial)
		if f := m.checkSize(h); f != nil {
			return f
		}
		if want == headerBytes && h.length > 0 {
			continue
		}
		whole := m.partial
		m.partial = nil // a connection at rest has no buffer
		if f := m.frame(h, whole[headerBytes:]); f != nil {
			return f
		}
	}
	for len(p) >= headerBytes && !m.failed {
		h := parseHeader(p)
		if f := m.checkSize(h); f != nil {
			return f
		}
		if len(p) < headerBytes+h.length {
			break
		}
		if f := m.frame(h, p[headerBytes:headerBytes+h.length]); f != nil {
			return f
		}
		p = p[headerBytes+h.length:]
	}
	if len(p) > 0 && !m.failed {
		m.partial = append(m.partial, p...)
	}
	return nil
}

func (m *Machine) checkSize(h frameHeader) *Fault {
	if h.length > MaxFrame {
		return fault(FrameSizeError, "a frame beyond SETTINGS_MAX_FRAME_SIZE")
	}
	return nil
}

// frame takes a whole frame.
func (m *Machine) frame(h frameHeader, p []byte) *Fault {
	switch {
	case !m.greeted && (h.kind != frameSettings || h.has(flagAck)):
		return fault(ProtocolError, "SETTINGS do not come first") // §3.4
	case m.block.stream != 0 && (h.kind != frameContinuation || h.stream != m.block.stream):
		return fault(ProtocolError, "a frame amid a field block") // §4.3
	}
	switch h.kind {
	case frameData:
		return m.takeData(h, p)
	case frameHeaders:
		return m.takeHeaders(h, p)
	case frameContinuation:
		return m.takeContinuation(h, p)
	case framePriority:
		return m.takePriority(h, p)
	case framePriorityUpdate:
		return m.takePriorityUpdate(h, p)
	case frameReset:
		return m.takeReset(h, p)
	case frameSettings:
		return m.takeSettings(h, p)
	case framePing:
		return m.takePing(h, p)
	case frameGoAway:
		return m.takeGoAway(h, p)
	case frameWindow:
		return m.takeWindowUpdate(h, p)
	case framePush:
		return fault(ProtocolError, "PUSH_PROMISE of a client") // §8.4
	}
	return m.glitch() // "MUST ignore and discard frames of unknown types" (§4.1)
}

// idle reports whether a stream has not begun.
func (m *Machine) idle(id uint32) bool {
	if id%2 == 0 {
		return id > m.pushed
	}
	return id > m.last
}

func (m *Machine) takeData(h frameHeader, p []byte) *Fault {
	size := int32(len(p))
	p, f := h.unpad(p)
	switch {
	case h.stream == 0:
		return fault(ProtocolError, "DATA of no stream")
	case f != nil:
		return f
	case size > m.receive:
		return fault(FlowControlError, "DATA beyond the connection's window")
	case m.idle(h.stream):
		return fault(ProtocolError, "DATA of an idle stream")
	}
	m.receive -= size
	s := m.streams[h.stream]
	if s == nil || s.remoteEnded {
		m.giveBack(size)
		if s == nil && m.isDropped(h.stream) {
			return m.glitchIf(size == 0)
		}
		return m.streamFault(h.stream, StreamClosed)
	}
	if size > s.receive {
		m.giveBack(size)
		return m.streamFault(h.stream, FlowControlError)
	}
	s.receive -= size
	ends := h.has(flagEndStream)
	if s.missing >= 0 {
		if s.missing -= int64(len(p)); s.missing < 0 || ends && s.missing > 0 {
			m.giveBack(size)
			return m.streamFault(h.stream, ProtocolError) // §8.1.1
		}
	}
	m.Consume(s, int(size)-len(p)) // padding
	if len(p) > 0 {
		m.events.Data(s, p)
	}
	if ends && !s.over {
		s.remoteEnded = true
		m.events.End(s, nil)
		m.settle(s)
	}
	return m.glitchIf(len(p) == 0 && !ends)
}

func (m *Machine) glitchIf(is bool) *Fault {
	if is {
		return m.glitch()
	}
	return nil
}

func (m *Machine) takeReset(h frameHeader, p []byte) *Fault {
	switch {
	case len(p) != 4:
		return fault(FrameSizeError, "RST_STREAM")
	case h.stream == 0 || m.idle(h.stream):
		return fault(ProtocolError, "RST_STREAM of no stream")
	}
	if s := m.streams[h.stream]; s != nil {
		m.end(s)
		m.events.Reset(s, Code(binary.BigEndian.Uint32(p)))
	} else if i := slices.Index(m.dropped[:], h.stream); i >= 0 {
		m.dropped[i] = 0 // now the peer knows
	}
	return m.glitch()
}

func (m *Machine) takePing(h frameHeader, p []byte) *Fault {
	switch {
	case len(p) != 8:
		return fault(FrameSizeError, "PING")
	case h.stream != 0:
		return fault(ProtocolError, "PING of a stream")
	case !h.has(flagAck):
		m.begin(8, framePing, flagAck, 0)
		m.Out = append(m.Out, p...)
	case string(p) == pingData:
		m.events.Pong()
		return nil
	}
	return m.glitch()
}

func (m *Machine) takeGoAway(h frameHeader, p []byte) *Fault {
	switch {
	case len(p) < 8:
		return fault(FrameSizeError, "GOAWAY")
	case h.stream != 0:
		return fault(ProtocolError, "GOAWAY of a stream")
	}
	m.left = true
	return m.glitch()
}

// Left reports whether the peer will begin no more streams.
func (m *Machine) Left() bool { return m.left }
