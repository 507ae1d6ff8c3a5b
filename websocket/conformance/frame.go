package conformance

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// frame is a frame to send, right or wrong, or several that carry one message.
type frame struct {
	payload
	Opcode      opcode  `json:"opcode"`
	Fin         *bool   `json:"fin"`          // true, unless told otherwise
	RSV         []int   `json:"rsv"`          // which of the bits 1 to 3 are set
	Mask        *string `json:"mask"`         // a key in hex, or "none"; else as the sender's role has it
	Length      *length `json:"length"`       // announced in place of the payload's
	LengthBytes int     `json:"length_bytes"` // of the extended length: 2 or 8, however short it is
	Split       int     `json:"split"`        // fragments of so many bytes
	Compress    string  `json:"compress"`     // context: "message" or "connection"
	Raw         string  `json:"raw"`          // hex, in place of a frame
	Times       size    `json:"times"`        // how often all this is sent; 0 is once
}

// length is a number up to 2^64-1, also as "0x…".
type length uint64

func (l *length) UnmarshalJSON(data []byte) error {
	n, err := strconv.ParseUint(strings.Trim(string(data), `"`), 0, 64)
	*l = length(n)
	return err
}

func (f *frame) fin() bool { return f.Fin == nil || *f.Fin }

// encoder makes bytes of frames for one direction of a connection.
type encoder struct {
	masks   bool
	limit   int64
	deflate compressor
}

func (e *encoder) frames(frames []frame) (b []byte, err error) {
	for i := range frames {
		f := &frames[i]
		for range max(f.Times.bytes(e.limit), 1) {
			if b, err = e.append(b, f); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

func (e *encoder) append(dst []byte, f *frame) ([]byte, error) {
	if f.Raw != "" {
		return appendHex(dst, f.Raw)
	}
	data, err := f.bytes(e.limit)
	if err != nil {
		return nil, err
	}
	first := byte(f.Opcode)
	for _, bit := range f.RSV {
		first |= 0x80 >> bit
	}
	if f.Compress != "" {
		if data, err = e.deflate.compress(data, f.Compress == "connection"); err != nil {
			return nil, err
		}
		first |= 0x40 // RFC 7692 §6: RSV1 is the "Per-Message Compressed" bit
	}
	for {
		part := data
		if f.Split > 0 && len(part) > f.Split {
			part = part[:f.Split]
		}
		data = data[len(part):]
		if len(data) == 0 && f.fin() {
			first |= 0x80
		}
		if dst, err = e.appendFrame(dst, f, first, part); err != nil || len(data) == 0 {
			return dst, err
		}
		first = 0
	}
}

// appendFrame follows RFC 6455 §5.2, as far as f does.
func (e *encoder) appendFrame(dst []byte, f *frame, first byte, data []byte) ([]byte, error) {
	announced := uint64(len(data))
	if f.Length != nil {
		announced = uint64(*f.Length)
	}
	extended := f.LengthBytes
	if extended == 0 && announced > 125 {
		if extended = 2; announced > 0xFFFF {
			extended = 8
		}
	}
	var maskBit byte
	var key []byte
	switch {
	case f.Mask != nil && *f.Mask != "none":
		var err error
		if key, err = appendHex(nil, *f.Mask); err != nil {
			return nil, err
		}
	case f.Mask == nil && e.masks:
		key = make([]byte, 4)
		rand.Read(key)
	}
	if key != nil {
		maskBit = 0x80
	}
	switch extended {
	case 0:
		dst = append(dst, first, maskBit|byte(announced))
	case 2:
		dst = binary.BigEndian.AppendUint16(append(dst, first, maskBit|126), uint16(announced))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, maskBit|127), announced)
	}
	dst = append(dst, key...)
	start := len(dst)
	dst = append(dst, data...)
	unmask(dst[start:], key)
	return dst, nil
}

func unmask(data, key []byte) {
	if key == nil {
		return
	}
	for i := range data {
		data[i] ^= key[i%4]
	}
}

// incoming is a frame of the implementation under test.
type incoming struct {
	first   byte
	key     []byte // nil if not masked
	payload []byte
}

func (f *incoming) opcode() opcode { return opcode(f.first & 0x0F) }
func (f *incoming) fin() bool      { return f.first&0x80 != 0 }
func (f *incoming) rsv() byte      { return f.first >> 4 & 7 }

// maxIncoming is more than any case makes an implementation send.
const maxIncoming = 64 << 20

// fault is what the implementation under test sends against the RFC.
type fault string

func (f fault) Error() string { return string(f) }

// readFrame gives a fault for what is unreadable as a frame.
func readFrame(r *bufio.Reader) (*incoming, error) {
	head := make([]byte, 10)
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return nil, err
	}
	announced := uint64(head[1] & 0x7F)
	switch announced {
	case 126:
		if _, err := io.ReadFull(r, head[2:4]); err != nil {
			return nil, err
		}
		if announced = uint64(binary.BigEndian.Uint16(head[2:])); announced <= 125 {
			return nil, fault("a length that is not minimal (RFC 6455 §5.2)")
		}
	case 127:
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return nil, err
		}
		if announced = binary.BigEndian.Uint64(head[2:]); announced <= 0xFFFF {
			return nil, fault("a length that is not minimal (RFC 6455 §5.2)")
		}
	}
	if announced > maxIncoming {
		return nil, fault(fmt.Sprintf("a frame of %d bytes", announced))
	}
	f := &incoming{first: head[0]}
	if head[1]&0x80 != 0 {
		f.key = make([]byte, 4)
		if _, err := io.ReadFull(r, f.key); err != nil {
			return nil, err
		}
	}
	f.payload = make([]byte, announced)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return nil, err
	}
	unmask(f.payload, f.key)
	return f, nil
}
