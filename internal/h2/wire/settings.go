package wire

import "encoding/binary"

func (m *Machine) takeSettings(h frameHeader, p []byte) *Fault {
	switch {
	case h.stream != 0:
		return fault(ProtocolError, "SETTINGS of a stream")
	case h.has(flagAck) && len(p) > 0, len(p)%6 != 0:
		return fault(FrameSizeError, "SETTINGS")
	case h.has(flagAck):
		return m.glitch()
	}
	// A window that changes is a visit to all streams: once for a frame.
	window := m.peer.window
	for ; len(p) > 0; p = p[6:] {
		value := binary.BigEndian.Uint32(p[2:])
		switch binary.BigEndian.Uint16(p) {
		case settingTableSize:
			m.encoder.SetMaxDynamicTableSize(min(value, tableBytes))
		case settingEnablePush:
			if value > 1 {
				return fault(ProtocolError, "SETTINGS_ENABLE_PUSH")
			}
			m.peer.push = value == 1
		case settingMaxStreams:
			m.peer.maxStreams = value
		case settingWindow:
			if value > maxWindow {
				return fault(FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE")
			}
			window = int32(value)
		case settingMaxFrame:
			if value < MaxFrame || value > 1<<24-1 {
				return fault(ProtocolError, "SETTINGS_MAX_FRAME_SIZE")
			}
		case settingEnableConnect, settingNoPriorityTree:
			if value > 1 {
				return fault(ProtocolError, "a setting that is neither 0 nor 1")
			}
		}
	}
	if f := m.setWindow(window); f != nil {
		return f
	}
	m.begin(0, frameSettings, flagAck, 0)
	if !m.greeted {
		m.greeted = true
		return nil
	}
	return m.glitch()
}

// setWindow sets the window of new streams, and changes those of all others
// (RFC 9113 §6.9.2).
func (m *Machine) setWindow(window int32) *Fault {
	change := int64(window) - int64(m.peer.window)
	m.peer.window = window
	if change == 0 {
		return nil
	}
	for _, s := range m.streams {
		size := int64(s.send) + change
		if size > maxWindow {
			return fault(FlowControlError, "a window of 2^31 or more")
		}
		s.send = int32(size)
		m.requeue(s)
	}
	return nil
}

func (m *Machine) takeWindowUpdate(h frameHeader, p []byte) *Fault {
	if len(p) != 4 {
		return fault(FrameSizeError, "WINDOW_UPDATE")
	}
	more := int32(binary.BigEndian.Uint32(p) & maxWindow)
	if m.owed > 0 {
		m.owed--
	} else if f := m.glitch(); f != nil {
		return f
	}
	if h.stream == 0 {
		switch {
		case more == 0:
			return fault(ProtocolError, "WINDOW_UPDATE by 0")
		case int64(m.send)+int64(more) > maxWindow:
			return fault(FlowControlError, "a window of 2^31 or more")
		}
		m.send += more
		return nil
	}
	s := m.streams[h.stream]
	switch {
	case m.idle(h.stream):
		return fault(ProtocolError, "WINDOW_UPDATE of an idle stream")
	case s == nil && more == 0: // never right, and a stream that is over cannot be reset
		return fault(ProtocolError, "WINDOW_UPDATE by 0")
	case s == nil: // it may have been under way
		return nil
	case more == 0:
		return m.streamFault(h.stream, ProtocolError)
	case int64(s.send)+int64(more) > maxWindow:
		return m.streamFault(h.stream, FlowControlError)
	}
	s.send += more
	m.requeue(s)
	return nil
}

// requeue is for a stream whose window has changed.
func (m *Machine) requeue(s *Stream) {
	if s.short && s.send > 0 {
		m.ready.put(s)
	}
}
