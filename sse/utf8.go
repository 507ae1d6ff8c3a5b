package sse

import "unicode/utf8"

// toUTF8 is UTF-8 decode (HTML §9.2.6, Encoding Standard §6) without the byte
// order mark: b itself if it is well-formed, else a copy in which U+FFFD stands
// for each ill-formed sequence. Lines may be decoded one by one, since no such
// sequence takes in an ASCII byte.
func toUTF8(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	decoded := make([]byte, 0, len(b)+len(b)/2)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			// A sequence that breaks off is replaced as a whole: its longest
			// part that could still have become a rune. (bytes.ToValidUTF8
			// replaces runs, a range loop single bytes.)
			for n < len(b) && !utf8.FullRune(b[:n+1]) {
				n++
			}
		}
		decoded = utf8.AppendRune(decoded, r)
		b = b[n:]
	}
	return decoded
}
