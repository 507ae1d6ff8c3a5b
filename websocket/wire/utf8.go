package wire

import (
	"encoding/binary"
	"unicode/utf8"
)

// UTF8 checks text that arrives in pieces, which may be cut inside a character. It knows at the
// first impossible byte that the text is not UTF-8 (RFC 6455 §8.1, RFC 3629). The zero value is
// ready.
type UTF8 struct {
	cut  [utf8.UTFMax - 1]byte // the beginning of a character that is not complete
	held uint8                 // bytes in cut
}

// Feed takes the next piece, and reports whether all so far can be the beginning of valid text.
func (u *UTF8) Feed(p []byte) bool {
	if u.held > 0 {
		var char [utf8.UTFMax]byte
		n := copy(char[:], u.cut[:u.held])
		for !utf8.FullRune(char[:n]) {
			if len(p) == 0 {
				u.held = uint8(copy(u.cut[:], char[:n]))
				return true
			}
			char[n] = p[0]
			n++
			p = p[1:]
		}
		if !utf8.Valid(char[:n]) {
			return false
		}
		u.held = 0
	}
	p = p[asciiPrefix(p):]
	whole := len(p) - cutLength(p)
	u.held = uint8(copy(u.cut[:], p[whole:]))
	return utf8.Valid(p[:whole])
}

// Complete reports whether the text may end here. It does not start anew.
func (u *UTF8) Complete() bool { return u.held == 0 }

// cutLength gives the length of the incomplete character at the end of p.
func cutLength(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if tail := p[len(p)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// asciiPrefix gives a length of p within which all is ASCII. It leaves up to 7 ASCII bytes
// uncounted.
func asciiPrefix(p []byte) int {
	const high = 0x8080808080808080
	n := 0
	for len(p)-n >= 32 {
		block := (*[32]byte)(p[n:])
		if (binary.LittleEndian.Uint64(block[0:])|binary.LittleEndian.Uint64(block[8:])|
			binary.LittleEndian.Uint64(block[16:])|binary.LittleEndian.Uint64(block[24:]))&high != 0 {
			break
		}
		n += 32
	}
	for len(p)-n >= 8 && binary.LittleEndian.Uint64(p[n:])&high == 0 {
		n += 8
	}
	return n
}
