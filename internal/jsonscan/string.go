package jsonscan

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrString is the error for what is no JSON string, or none of Unicode text.
var ErrString = errors.New("jsonscan: not a string of Unicode text")

// String decodes a JSON string, quotation marks and all. What it returns is
// valid UTF-8; otherwise the error is ErrString.
func String(raw []byte) (string, error) {
	s, err := AppendString(nil, raw)
	return string(s), err
}

// AppendString is String that appends to dst. It returns dst unchanged with
// an error.
func AppendString(dst, raw []byte) ([]byte, error) {
	s := scanner{data: raw}
	s.checkUTF8()
	s.string()
	if s.fault != "" || s.at != len(raw) {
		return dst, ErrString
	}
	out, rest := dst, raw[1:len(raw)-1]
	for {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			return append(out, rest...), nil
		}
		out = append(out, rest[:i]...)
		var ok bool
		if out, rest, ok = appendEscape(out, rest[i:]); !ok {
			return dst, ErrString
		}
	}
}

// appendEscape decodes the well-formed escape that rest begins with, and
// returns what follows it. It is not ok if that is half a surrogate pair:
// RFC 8259 §8.2 leaves open what it means.
func appendEscape(dst, rest []byte) ([]byte, []byte, bool) {
	c, rest := rest[1], rest[2:]
	if i := strings.IndexByte(escapeLetters, c); i >= 0 {
		return append(dst, escaped[i]), rest, true
	}
	r := hex4(rest)
	rest = rest[4:]
	if utf16.IsSurrogate(r) {
		if len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' {
			return dst, rest, false
		}
		if r = utf16.DecodeRune(r, hex4(rest[2:])); r == utf8.RuneError {
			return dst, rest, false
		}
		rest = rest[6:]
	}
	return utf8.AppendRune(dst, r), rest, true
}

// The escapes of one letter (RFC 8259 §7), and what they stand for.
const (
	escapeLetters = `"\/bfnrt`
	escaped       = "\"\\/\b\f\n\r\t"
)

// string goes over a string (RFC 8259 §7).
func (s *scanner) string() {
	if !s.take('"') {
		s.fail("want a string")
		return
	}
	for s.at < len(s.data) {
		switch c := s.data[s.at]; {
		case c == '"':
			s.at++
			return
		case c == '\\':
			n := escapeLength(s.data[s.at:])
			if n == 0 {
				s.fail("no such escape")
				return
			}
			s.at += n
		case c < ' ':
			s.fail("a control character in a string")
			return
		default:
			s.at++
		}
	}
	s.fail("a string without an end")
}

// escapeLength is the length of the escape that b begins with, 0 if there is
// no such escape.
func escapeLength(b []byte) int {
	switch {
	case len(b) >= 2 && strings.IndexByte(escapeLetters, b[1]) >= 0:
		return 2
	case len(b) >= 6 && b[1] == 'u' && hex4(b[2:]) >= 0:
		return 6
	}
	return 0
}

// hex4 is the number that the first four bytes write, negative if they write
// none.
func hex4(b []byte) rune {
	var n rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			n = n<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return n
}
