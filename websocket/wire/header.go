package wire

import (
	"encoding/binary"
	"math"
	"strconv"
)

// Opcode says what a frame is (RFC 6455 §5.2). Those that have no constant are reserved.
type Opcode byte

const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// Control reports whether o is a control opcode, defined or reserved (§5.5).
func (o Opcode) Control() bool { return o&0x8 != 0 }

func (o Opcode) reserved() bool { return o&0x7 > 2 }

func (o Opcode) String() string {
	switch o {
	case Continuation:
		return "continuation"
	case Text:
		return "text"
	case Binary:
		return "binary"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return "opcode " + strconv.Itoa(int(o))
}

// The reserved bits, where they stand in the first byte of a frame. Each means nothing until an
// extension gives it a meaning.
const (
	RSV1 byte = 0x40
	RSV2 byte = 0x20
	RSV3 byte = 0x10

	rsvMask = RSV1 | RSV2 | RSV3
	finBit  = 0x80
	maskBit = 0x80
)

const (
	// MaxHeaderBytes is the longest header: 2 bytes, 8 of length, 4 of key.
	MaxHeaderBytes = 14

	// MaxControlPayload is the longest payload of a control frame (§5.5).
	MaxControlPayload = 125
)

// Header is everything of a frame but its payload.
type Header struct {
	Fin    bool
	RSV    byte // RSV1, RSV2 and RSV3, or'ed
	Opcode Opcode
	Masked bool
	Key    Key // meaningful if Masked
	Length int64
}

// ParseHeader reads the header at the front of b and gives its size in n. As long as b holds too
// little of it, n is 0 and err is nil.
//
// Only what makes the bytes unreadable as a header is a [*Fault] here: a length that is not
// minimal, or that does not fit 63 bits. Whether a frame may come at this point, a [Machine]
// judges.
func ParseHeader(b []byte) (h Header, n int, err error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	n = 2
	length := uint64(b[1] &^ maskBit)
	// §5.2: "the minimal number of bytes MUST be used to encode the length".
	switch length {
	case 126:
		if n = 4; len(b) < n {
			return h, 0, nil
		}
		if length = uint64(binary.BigEndian.Uint16(b[2:])); length <= MaxControlPayload {
			return h, 0, faultLengthForm
		}
	case 127:
		if n = 10; len(b) < n {
			return h, 0, nil
		}
		length = binary.BigEndian.Uint64(b[2:])
		if length > math.MaxInt64 {
			return h, 0, faultLengthSign // §5.2: "the most significant bit MUST be 0"
		}
		if length <= math.MaxUint16 {
			return h, 0, faultLengthForm
		}
	}
	if b[1]&maskBit != 0 {
		if len(b) < n+4 {
			return h, 0, nil
		}
		h.Masked = true
		h.Key = Key(binary.LittleEndian.Uint32(b[n:]))
		n += 4
	}
	h.Fin = b[0]&finBit != 0
	h.RSV = b[0] & rsvMask
	h.Opcode = Opcode(b[0] & 0x0F)
	h.Length = int64(length)
	return h, n, nil
}

// AppendHeader appends h in its shortest form to dst.
func AppendHeader(dst []byte, h Header) []byte {
	first := byte(h.Opcode) | h.RSV
	if h.Fin {
		first |= finBit
	}
	var second byte
	if h.Masked {
		second = maskBit
	}
	switch {
	case h.Length <= MaxControlPayload:
		dst = append(dst, first, second|byte(h.Length))
	case h.Length <= math.MaxUint16:
		dst = append(dst, first, second|126, byte(h.Length>>8), byte(h.Length))
	default:
		dst = append(dst, first, second|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(h.Length))
	}
	if h.Masked {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(h.Key))
	}
	return dst
}

// AppendFrame appends an unmasked frame, as servers send it, to dst.
func AppendFrame(dst []byte, opcode Opcode, fin bool, payload []byte) []byte {
	dst = AppendHeader(dst, Header{Fin: fin, Opcode: opcode, Length: int64(len(payload))})
	return append(dst, payload...)
}

// AppendMaskedFrame appends a masked frame, as clients send it, to dst. The payload itself stays
// as it is. Each frame needs a fresh key that nobody can predict (§5.3).
func AppendMaskedFrame(dst []byte, opcode Opcode, fin bool, key Key, payload []byte) []byte {
	dst = AppendHeader(dst, Header{Fin: fin, Opcode: opcode, Masked: true, Key: key, Length: int64(len(payload))})
	start := len(dst)
	dst = append(dst, payload...)
	key.Mask(dst[start:])
	return dst
}
