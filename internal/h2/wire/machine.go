package wire

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Events are what a peer does. They are called during Receive and Fill, and may
// call the machine's methods that send.
type Events interface {
	// Request begins a stream.
	Request(s *Stream, head *Head)
	// Data is a piece of its body, valid during the call. Every byte has to be
	// given to Machine.Consume sooner or later.
	Data(s *Stream, p []byte)
	// End says that the peer has sent all, and the fields that followed the
	// body, valid during the call. It does not follow a Head that Ends.
	End(s *Stream, trailer []hpack.HeaderField)
	// Reset says that the stream is over: by the peer, or because of what the
	// peer has done.
	Reset(s *Stream, code Code)
	// Room says that a stream whose Offer was short may offer more.
	Room(s *Stream)
	// Pong answers Machine.Ping.
	Pong()
}

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

// A Machine is one connection.
type Machine struct {
	// Out is what is to be sent. Whoever sends it takes it away.
	Out []byte
	// Blocked says that what was taken from Out is not sent yet: no more DATA is
	// put there.
	Blocked bool

	config   *Config
	events   Events
	now      time.Duration
	glitches glitches
	failed   bool

	preface int    // bytes of it that have come
	partial []byte // a frame that is not complete
	greeted bool   // the peer's first SETTINGS came

	streams map[uint32]*Stream
	remote  int    // of them, those that the peer has begun
	last    uint32 // highest id that the peer has used
	accept  uint32 // highest id that is accepted; later ones are passed over
	pushed  uint32 // highest id that we have used
	left    bool   // the peer has sent GOAWAY
	dropped [16]uint32
	drops   int // index into dropped: streams that we have ended alone

	decoder *hpack.Decoder
	block   block
	encoder *hpack.Encoder
	encoded bytes.Buffer

	send     int32 // window for what we send
	receive  int32 // window that the peer has left
	consumed int32
	owed     int // window updates that the peer may send for nothing
	ready    ready
	early    []early

	peer struct {
		window     int32 // of new streams
		maxFrame   int
		maxStreams uint32
		push       bool
	}
}

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

// early is a priority of a stream that has not begun.
type early struct {
	stream uint32
	Priority
}

// New begins a connection. prefaced says that the preface was read already.
// config is shared, and must not change.
func New(config *Config, events Events, prefaced bool) *Machine {
	m := &Machine{config: config, events: events, accept: maxStreamID, send: initialWindow, receive: initialWindow}
	if prefaced {
		m.preface = len(Preface)
	}
	m.peer.window, m.peer.maxFrame, m.peer.maxStreams, m.peer.push = initialWindow, MaxFrame, 1<<31, true
	m.streams = make(map[uint32]*Stream)
	m.decoder = hpack.NewDecoder(tableBytes, m.field)
	m.decoder.SetMaxStringLength(config.MaxHeaderBytes)
	m.encoder = hpack.NewEncoder(&m.encoded)
	settings := appendSetting(nil, settingMaxStreams, uint32(config.MaxStreams))
	settings = appendSetting(settings, settingWindow, uint32(config.StreamWindow))
	settings = appendSetting(settings, settingMaxFrame, MaxFrame)
	settings = appendSetting(settings, settingMaxHeaderList, uint32(config.MaxHeaderBytes))
	if !config.NoConnect {
		settings = appendSetting(settings, settingEnableConnect, 1)
	}
	settings = appendSetting(settings, settingNoPriorityTree, 1)
	m.begin(len(settings), frameSettings, 0, 0)
	m.Out = append(m.Out, settings...)
	if more := config.ConnectionWindow - initialWindow; more > 0 {
		m.sendWindowUpdate(0, more)
		m.receive += int32(more)
	}
	return m
}

// Greeted reports whether the peer has begun.
func (m *Machine) Greeted() bool { return m.greeted }

// Open is how many streams there are.
func (m *Machine) Open() int { return len(m.streams) }

// Each calls f for all streams.
func (m *Machine) Each(f func(*Stream)) {
	for _, s := range m.streams {
		f(s)
	}
}

// Close is for when the network is gone: all streams are over, and nothing more
// is sent.
func (m *Machine) Close() {
	m.failed, m.Out, m.partial = true, nil, nil
	for _, s := range m.streams {
		s.over = true
	}
	clear(m.streams)
	m.remote = 0
}

// Receive takes bytes of the peer, which it may keep none of. now is the time
// since some moment. After a fault, which is told once, nothing is received.
func (m *Machine) Receive(p []byte, now time.Duration) *Fault {
	if m.failed {
		return nil
	}
	m.now = now
	f := m.read(p)
	if f == nil && m.Blocked && len(m.Out) > m.config.MaxUnsent {
		f = fault(EnhanceYourCalm, "answers are not read")
	}
	if f != nil {
		m.Fail(f)
	}
	return f
}

// Failed reports whether there was a fault.
func (m *Machine) Failed() bool { return m.failed }

// Fail ends the connection for a reason that the machine does not know of. It
// may be called by Events.
func (m *Machine) Fail(f *Fault) {
	if !m.failed {
		m.failed, m.partial = true, nil
		m.goAway(m.last, f.Code, f.Reason)
	}
}

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
