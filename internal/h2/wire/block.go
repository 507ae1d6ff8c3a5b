package wire

import (
	"encoding/binary"
	"slices"

	"golang.org/x/net/http2/hpack"
)

// A block is a list of fields that is being received.
type block struct {
	stream   uint32 // 0: there is none
	of       *Stream
	purpose  purpose
	ends     bool   // END_STREAM
	faulty   string // malformed for another reason than its fields
	bytes    int    // on the wire
	size     int    // of the fields
	tooLarge bool
	fields   []hpack.HeaderField
}

type purpose uint8

const (
	forRequest purpose = iota
	forTrailer
	forNothing // its stream is over; the table has to stay right
)

func (m *Machine) takeHeaders(h frameHeader, p []byte) *Fault {
	p, f := h.unpad(p)
	switch {
	case h.stream%2 == 0:
		return fault(ProtocolError, "HEADERS of no stream of a client")
	case f != nil:
		return f
	}
	b := &m.block
	*b = block{stream: h.stream, ends: h.has(flagEndStream), fields: b.fields[:0]}
	if h.has(flagPriority) {
		if len(p) < 5 {
			return fault(FrameSizeError, "HEADERS with half a priority")
		}
		if binary.BigEndian.Uint32(p)&maxStreamID == h.stream {
			b.faulty = "a stream that depends on itself"
		}
		p = p[5:]
	}
	b.of = m.streams[h.stream]
	switch {
	case h.stream > m.last:
		if m.last = h.stream; h.stream > m.accept {
			b.purpose = forNothing
		}
	case b.of != nil && b.of.remoteEnded:
		return fault(StreamClosed, "HEADERS after the end") // §5.1
	case b.of != nil:
		if b.purpose = forTrailer; !b.ends {
			b.faulty = "a trailer that does not end the stream"
		}
	case m.isDropped(h.stream):
		b.purpose = forNothing
	default:
		return fault(StreamClosed, "HEADERS of a stream that is over")
	}
	return m.takeFragment(h, p)
}

func (m *Machine) takeContinuation(h frameHeader, p []byte) *Fault {
	if m.block.stream == 0 {
		return fault(ProtocolError, "CONTINUATION of nothing")
	}
	if f := m.glitch(); f != nil {
		return f
	}
	return m.takeFragment(h, p)
}

// takeFragment decodes a part of a block. What does not end is cut off
// (CVE-2024-27316).
func (m *Machine) takeFragment(h frameHeader, p []byte) *Fault {
	b := &m.block
	if b.bytes += len(p); b.bytes > 2*m.config.MaxHeaderBytes {
		return fault(EnhanceYourCalm, "endless fields")
	}
	if _, err := m.decoder.Write(p); err != nil {
		return fault(CompressionError, "HPACK")
	}
	if !h.has(flagEndHeaders) {
		return nil
	}
	if err := m.decoder.Close(); err != nil {
		return fault(CompressionError, "HPACK")
	}
	m.decoder.SetEmitEnabled(true)
	f := m.endBlock()
	b.stream, b.of = 0, nil
	clear(b.fields)
	if b.fields = b.fields[:0]; cap(b.fields) > 64 || m.Open() == 0 {
		b.fields = nil
	}
	return f
}

// field takes a decoded field. A small block may hold a large one many times:
// once there is too much, only the table is kept up to date.
func (m *Machine) field(f hpack.HeaderField) {
	b := &m.block
	if b.size += int(f.Size()); b.size > m.config.MaxHeaderBytes {
		b.tooLarge = true
		m.decoder.SetEmitEnabled(false)
		return
	}
	b.fields = append(b.fields, f)
}

func (m *Machine) endBlock() *Fault {
	b := &m.block
	switch {
	case b.purpose == forNothing:
		return m.glitch()
	case b.of != nil && b.of.over: // ended by us, amid the block
		return nil
	case b.faulty != "":
		return m.streamFault(b.stream, ProtocolError)
	case b.purpose == forTrailer:
		s := b.of
		if b.tooLarge || checkTrailer(b.fields) != "" || s.missing > 0 {
			return m.streamFault(b.stream, ProtocolError)
		}
		s.remoteEnded = true
		m.events.End(s, b.fields)
		m.settle(s)
		return nil
	}
	if m.remote >= m.config.MaxStreams {
		m.sendReset(b.stream, RefusedStream)
		return m.glitch()
	}
	var head Head
	malformed := ""
	if b.tooLarge {
		head = Head{Length: -1, TooLarge: true}
		// The answer needs to know whether it is to have a body.
		if i := slices.IndexFunc(b.fields, func(f hpack.HeaderField) bool { return f.Name == ":method" }); i >= 0 {
			head.Method = b.fields[i].Value
		}
	} else {
		head, malformed = parseHead(b.fields, !m.config.NoConnect)
	}
	if head.Ends = b.ends; malformed != "" || b.ends && head.Length > 0 {
		return m.streamFault(b.stream, ProtocolError)
	}
	s := &Stream{
		id:          b.stream,
		send:        m.peer.window,
		receive:     int32(m.config.StreamWindow),
		missing:     head.Length,
		priority:    m.priorityOf(b.stream, b.fields),
		remoteEnded: b.ends,
	}
	m.streams[s.id] = s
	m.remote++
	m.events.Request(s, &head)
	return nil
}
