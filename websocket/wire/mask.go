package wire

import (
	"encoding/binary"
	"math/bits"
)

// Key is a masking key (RFC 6455 §5.3): its first byte on the wire is the lowest one. It stands
// for a position too: [Key.Mask] gives the key to go on with.
type Key uint32

// Mask masks or unmasks b in place (the operation is its own inverse), and gives the key for the
// byte after b.
func (k Key) Mask(b []byte) Key {
	word := uint64(k)<<32 | uint64(k)
	rest := len(b) % 4
	for len(b) >= 64 {
		block := (*[64]byte)(b) // one bounds check for eight words
		xor(block[0:8], word)
		xor(block[8:16], word)
		xor(block[16:24], word)
		xor(block[24:32], word)
		xor(block[32:40], word)
		xor(block[40:48], word)
		xor(block[48:56], word)
		xor(block[56:64], word)
		b = b[64:]
	}
	for len(b) >= 8 {
		xor(b[:8], word)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(word >> (8 * i))
	}
	return Key(bits.RotateLeft32(uint32(k), -8*rest))
}

func xor(b []byte, word uint64) {
	binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
}
