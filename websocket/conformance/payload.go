package conformance

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// payload is some bytes, in one of several notations. Without any of them it is empty.
type payload struct {
	Text   string    `json:"text"`
	Hex    string    `json:"hex"` // blanks mean nothing
	Repeat *repeat   `json:"repeat"`
	Noise  int       `json:"noise"` // so many bytes that do not compress, always the same
	Code   int       `json:"code"`  // of a close frame, before the reason
	Reason string    `json:"reason"`
	Parts  []payload `json:"parts"`
}

type repeat struct {
	Text  string `json:"text"`
	Hex   string `json:"hex"`
	Times size   `json:"times"`
}

// size is a number, or "limit", "limit+N" or "limit-N".
type size struct {
	n       int64
	ofLimit bool // n is added to the limit
}

func (s *size) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	text, s.ofLimit = strings.CutPrefix(text, "limit")
	if text == "" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	s.n = n
	return err
}

func (s size) bytes(limit int64) int64 {
	if s.ofLimit {
		return s.n + limit
	}
	return s.n
}

func (p payload) bytes(limit int64) ([]byte, error) {
	var b []byte
	if p.Code != 0 {
		b = binary.BigEndian.AppendUint16(b, uint16(p.Code))
	}
	b = append(b, p.Reason...)
	b = append(b, p.Text...)
	b, err := appendHex(b, p.Hex)
	if err != nil {
		return nil, err
	}
	if p.Repeat != nil {
		unit, err := appendHex([]byte(p.Repeat.Text), p.Repeat.Hex)
		if err != nil {
			return nil, err
		}
		b = append(b, bytes.Repeat(unit, int(p.Repeat.Times.bytes(limit)))...)
	}
	b = appendNoise(b, p.Noise)
	for _, part := range p.Parts {
		more, err := part.bytes(limit)
		if err != nil {
			return nil, err
		}
		b = append(b, more...)
	}
	return b, nil
}

func appendHex(dst []byte, digits string) ([]byte, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	return append(dst, b...), err
}

// appendNoise appends the first n bytes of a fixed sequence (xorshift64, Marsaglia 2003).
func appendNoise(dst []byte, n int) []byte {
	state := uint64(88172645463325252)
	for range n {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		dst = append(dst, byte(state>>32))
	}
	return dst
}

// opcode is a name or a number.
type opcode byte

const (
	continuation opcode = 0x0
	text         opcode = 0x1
	binaryData   opcode = 0x2
	closing      opcode = 0x8
	ping         opcode = 0x9
	pong         opcode = 0xA
)

var opcodes = map[opcode]string{
	continuation: "continuation",
	text:         "text",
	binaryData:   "binary",
	closing:      "close",
	ping:         "ping",
	pong:         "pong",
}

func (o opcode) String() string {
	if name, ok := opcodes[o]; ok {
		return name
	}
	return fmt.Sprintf("opcode %d", byte(o))
}

func (o *opcode) UnmarshalJSON(data []byte) error {
	var name string
	if json.Unmarshal(data, &name) != nil {
		return json.Unmarshal(data, (*byte)(o))
	}
	for code, known := range opcodes {
		if name == known {
			*o = code
			return nil
		}
	}
	return fmt.Errorf("no opcode %q", name)
}

// show gives what people can read of a payload.
func show(b []byte) string {
	const most = 40
	switch {
	case len(b) > most:
		return fmt.Sprintf("%d bytes (%x…)", len(b), b[:16])
	case isPrintable(b):
		return strconv.Quote(string(b))
	}
	return fmt.Sprintf("% x", b)
}

func isPrintable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
