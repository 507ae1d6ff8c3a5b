package wire

import "math"

// MaxFragments is how many frames one message may have. A message of more is legal, but nobody
// needs it, and each frame costs its receiver more than its sender.
const MaxFragments = 16384

// Role is a side of a connection.
type Role uint8

const (
	// Server receives masked frames and sends unmasked ones (RFC 6455 §5.1).
	Server Role = iota
	// Client receives unmasked frames and sends masked ones.
	Client
)

// Config says what a [Machine] accepts.
type Config struct {
	// Role is the side that reads with this machine.
	Role Role

	// MaxMessageBytes bounds the payload of a message, all its frames together, before and after
	// it is inflated. If zero, there is no bound.
	MaxMessageBytes int64

	// Inflation, if not nil, accepts compressed messages.
	Inflation *Inflation

	// RSV holds the reserved bits that another extension has given a meaning to. They are accepted
	// on the first frame of a message. Text with one of them set is not checked to be UTF-8: what
	// it says only the extension can tell.
	RSV byte
}

// EventKind says what an [Event] is.
type EventKind uint8

const (
	// More means that all input is used up and an event needs more of it.
	More EventKind = iota
	// Chunk is some of a message: perhaps all of it, perhaps no byte of it.
	Chunk
	// PingEvent is a ping, whole. It wants to be answered by a pong with its payload.
	PingEvent
	// PongEvent is a pong, whole.
	PongEvent
	// CloseEvent is a close frame, whole, with a payload that ParseClose can read. It is the last
	// event.
	CloseEvent
)

// Event is what [Machine.Next] found.
type Event struct {
	Kind EventKind

	// Payload, unmasked. It aliases the input or memory of the machine's, and holds until the
	// next call.
	Payload []byte

	// Opcode of a chunk is that of its message: Text or Binary.
	Opcode Opcode

	First bool // of a chunk: its message begins
	Last  bool // of a chunk: its message ends
	Frame bool // a frame begins, with the header that Machine.Header gives
}

// Machine reads the frames of one direction.
//
// Every frame of a message gives a chunk as soon as its header is complete, so that limits are
// judged and callers are told before any payload is there.
type Machine struct {
	role  Role
	rsv   byte
	limit int64

	partial    [MaxHeaderBytes]byte // a header that is not complete
	partialLen uint8

	inFrame bool // the frame's header is complete, its payload is not
	ended   bool // a close frame was read, or there was a fault
	plain   bool // the message is text that is checked to be UTF-8
	text    UTF8
	message Opcode // of the message that has begun and not ended, or Continuation

	frame     Header
	key       Key   // for the next byte of payload
	left      int64 // payload of the frame still to come
	size      int64 // payload of the message, as announced so far
	fragments int32

	control []byte // payload of a control frame that came in pieces
	fault   *Fault

	inflation  *inflation // nil if there are no compressed messages
	compressed bool       // the message is
}

// NewMachine returns a machine at the beginning of a connection's frames.
func NewMachine(config Config) Machine {
	var m Machine
	m.Reset(config)
	return m
}

// Reset makes m what NewMachine returns, with memory that it has.
func (m *Machine) Reset(config Config) {
	z := m.inflation
	*m = Machine{role: config.Role, rsv: config.RSV}
	if config.Inflation != nil {
		if z == nil {
			z = new(inflation)
		}
		*z = inflation{Inflation: *config.Inflation}
		m.rsv |= RSV1
		m.inflation = z
	}
	m.SetLimit(config.MaxMessageBytes)
}

// SetLimit changes MaxMessageBytes, from the next frame on.
func (m *Machine) SetLimit(maxMessageBytes int64) {
	if maxMessageBytes <= 0 {
		maxMessageBytes = maxLimit
	}
	m.limit = maxMessageBytes
}

const maxLimit = math.MaxInt64

// Header gives the header of the current frame.
func (m *Machine) Header() Header { return m.frame }

// InMessage reports whether a message has begun and not ended.
func (m *Machine) InMessage() bool { return m.message != Continuation }

// Fresh reports whether nothing of earlier input matters any more: a machine may be exchanged for a
// new one then.
func (m *Machine) Fresh() bool {
	return !m.inFrame && !m.ended && m.partialLen == 0 && m.message == Continuation && m.inflation.fresh()
}

// Left gives how much payload of the current data frame is still to come: as much input will be
// nothing but payload, and come back, unmasked in place, as chunks. Of compressed messages it
// gives 0.
func (m *Machine) Left() int64 {
	if !m.inFrame || m.compressed || m.frame.Opcode.Control() {
		return 0
	}
	return m.left
}

// Next reads from the front of in, up to the end of an event, and gives the number of bytes used.
// It unmasks in place. The error is a [*Fault], and final. After a close frame all input is
// ignored (RFC 6455 §5.5.1).
func (m *Machine) Next(in []byte) (event Event, n int, err error) {
	if m.inflation != nil {
		m.inflation.settle()
	}
	begins := !m.inFrame
	if begins {
		if m.ended {
			return m.afterEnd(in)
		}
		var fault *Fault
		if n, fault = m.header(in); fault != nil {
			return m.fail(fault)
		}
		if !m.inFrame {
			return Event{}, n, nil
		}
	}
	if m.frame.Opcode.Control() {
		return m.controlFrame(in, n)
	}
	payload := in[n:]
	if !begins && len(payload) == 0 && !(m.compressed && m.inflation.pending()) {
		return Event{}, n, nil
	}
	if int64(len(payload)) > m.left {
		payload = payload[:m.left]
	}
	var fault *Fault
	if m.compressed {
		var used int
		payload, used, fault = m.inflate(payload)
		n += used
	} else {
		m.take(payload)
		n += len(payload)
	}
	last := m.frame.Fin && !m.inFrame
	if m.plain && (!m.text.Feed(payload) || last && !m.text.Complete()) {
		return m.fail(faultText) // §8.1, and not later than at the first impossible byte
	}
	if fault != nil {
		return m.fail(fault)
	}
	event = Event{
		Kind:    Chunk,
		Payload: payload,
		Opcode:  m.message,
		First:   begins && m.frame.Opcode != Continuation,
		Last:    last,
		Frame:   begins,
	}
	if last {
		m.message = Continuation
	}
	return event, n, nil
}

// fail ends the machine with a fault.
func (m *Machine) fail(fault *Fault) (Event, int, error) {
	m.fault = fault
	m.ended = true
	m.inFrame = false
	m.control = nil
	if m.inflation != nil {
		m.inflation.ended = true
		m.inflation.settle()
	}
	return Event{}, 0, fault
}

func (m *Machine) afterEnd(in []byte) (Event, int, error) {
	if m.fault != nil {
		return Event{}, 0, m.fault
	}
	return Event{}, len(in), nil
}

// take unmasks payload and counts it off the frame.
func (m *Machine) take(payload []byte) {
	if m.frame.Masked {
		m.key = m.key.Mask(payload)
	}
	m.left -= int64(len(payload))
	m.inFrame = m.left > 0
}

// header reads a header, or as much of it as in holds. The frame has begun when inFrame is set.
func (m *Machine) header(in []byte) (n int, fault *Fault) {
	head := in
	if m.partialLen > 0 {
		held := int(m.partialLen)
		held += copy(m.partial[held:], in)
		head = m.partial[:held]
	}
	if len(head) >= 2 {
		if fault := m.judge(head[0], head[1]); fault != nil {
			return 0, fault
		}
	}
	frame, size, err := ParseHeader(head)
	if err != nil {
		return 0, err.(*Fault)
	}
	if size == 0 {
		if m.partialLen == 0 {
			copy(m.partial[:], in)
		}
		m.partialLen = uint8(len(head))
		return len(in), nil
	}
	n = size - int(m.partialLen)
	m.partialLen = 0
	m.frame, m.key, m.left, m.inFrame = frame, frame.Key, frame.Length, true
	if frame.Opcode.Control() {
		return n, nil
	}
	return n, m.begin()
}

// judge applies to the first two bytes of a frame every rule that needs no more of it.
func (m *Machine) judge(first, second byte) *Fault {
	opcode := Opcode(first & 0x0F)
	allowed := byte(0)
	if opcode == Text || opcode == Binary {
		allowed = m.rsv
	}
	switch {
	case first&rsvMask&^allowed != 0:
		// §5.2: "If a nonzero value is received and none of the negotiated extensions defines the
		// meaning of such a nonzero value, the receiving endpoint MUST _Fail the WebSocket
		// Connection_."
		return faultReservedBits
	case opcode.reserved():
		return faultReservedOpcode // §5.2
	case m.role == Server && second&maskBit == 0:
		return faultNotMasked // §5.1
	case m.role == Client && second&maskBit != 0:
		return faultMasked // §5.1
	case opcode.Control():
		// §5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT
		// be fragmented."
		if first&finBit == 0 {
			return faultControlFragment
		}
		if second&^maskBit > MaxControlPayload {
			return faultControlLength
		}
	case opcode == Continuation && m.message == Continuation:
		return faultNothingToGoOn // §5.4
	case opcode != Continuation && m.message != Continuation:
		return faultNotContinued // §5.4
	}
	return nil
}

// begin counts a data frame, judged already, to its message.
func (m *Machine) begin() *Fault {
	frame := &m.frame
	if frame.Opcode != Continuation {
		m.message = frame.Opcode
		m.size, m.fragments = 0, 0
		m.text = UTF8{}
		unknown := frame.RSV
		if m.compressed = m.inflation != nil && unknown&RSV1 != 0; m.compressed {
			m.inflation.begin()
			unknown &^= RSV1
		}
		m.plain = frame.Opcode == Text && unknown == 0
	}
	limit := m.limit
	if m.compressed {
		limit = compressedLimit(limit)
	}
	if frame.Length > limit-m.size { // neither is negative: the difference cannot overflow
		return faultTooBig
	}
	m.size += frame.Length
	if m.fragments++; m.fragments > MaxFragments {
		return faultFragments
	}
	return nil
}

// controlFrame gives the event of a control frame once all of it is there.
func (m *Machine) controlFrame(in []byte, n int) (Event, int, error) {
	payload := in[n:min(len(in), n+int(m.left))]
	m.take(payload)
	n += len(payload)
	if m.inFrame || len(m.control) > 0 {
		m.control = append(m.control, payload...)
		payload = m.control
	}
	if m.inFrame {
		return Event{}, n, nil
	}
	m.control = nil // the event has it
	event := Event{Payload: payload, Frame: true}
	switch m.frame.Opcode {
	case Ping:
		event.Kind = PingEvent
	case Pong:
		event.Kind = PongEvent
	default:
		if _, _, err := ParseClose(payload); err != nil {
			return m.fail(err.(*Fault))
		}
		event.Kind = CloseEvent
		m.ended = true
	}
	return event, n, nil
}
