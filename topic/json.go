package topic

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/duplexhq/duplex/internal/jsonscan"
)

// AppendJSON appends the event as one line of JSON (PROTOCOL.md §3.4), without the line's end:
//
//	{"id":"...","topic":"...","event":"...","media":"...","data":...,"time":"..."}
//
// JSON is embedded as it was published, but on one line; text is a string;
// binary is a data URL, and marked with "binary":true.
func AppendJSON(dst []byte, e *Event) []byte {
	dst = slices.Grow(dst, jsonSize(e))
	dst = append(dst, `{"id":"`...)
	dst = e.ID.AppendTo(dst)
	dst = append(dst, `","topic":`...)
	dst = appendQuoted(dst, e.Topic)
	if e.Type != "" {
		dst = append(dst, `,"event":`...)
		dst = appendQuoted(dst, e.Type)
	}
	if media := writtenMedia(e); media != "" {
		dst = append(dst, `,"media":`...)
		dst = appendQuoted(dst, media)
	}
	dst = append(dst, `,"data":`...)
	switch e.Kind {
	case JSON:
		dst = appendOneLine(dst, e.Data)
	case Text:
		dst = appendQuoted(dst, e.Data)
	case Binary:
		dst = append(dst, '"')
		dst = AppendDataURL(dst, e.Media, e.Data) // holds nothing to escape
		dst = append(dst, `","binary":true`...)
	}
	dst = append(dst, `,"time":"`...)
	dst = e.Time().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, `"}`...)
}

// jsonSize is about what AppendJSON appends, so that dst grows once.
func jsonSize(e *Event) int {
	const frame = 128 // the keys, an id, a time
	n := frame + len(e.Topic) + len(e.Type) + len(e.Media) + len(e.Data)
	switch e.Kind {
	case Binary:
		n += len(e.Media) + len(e.Data)/3
	case Text:
		n += len(e.Data) / 16 // some escapes
	}
	return n
}

// AppendSignalJSON appends the signal as one line of JSON, in the form of an
// event: {"id":"...","event":"$ping","data":{...}}. It has no id if it says no
// cursor.
func AppendSignalJSON(dst []byte, s Signal) []byte {
	dst = append(dst, '{')
	if s.Cursor != (Cursor{}) {
		dst = append(dst, `"id":"`...)
		dst = s.Cursor.AppendTo(dst)
		dst = append(dst, `",`...)
	}
	dst = append(dst, `"event":`...)
	dst = appendQuoted(dst, s.Type)
	dst = append(dst, `,"data":`...)
	dst = appendOneLine(dst, s.Data)
	return append(dst, '}')
}

// writtenMedia is the media type that the JSON of an event says, "" if it is
// left out because the data says enough.
//
// A string with a media type of JSON is a JSON document that is a string, and
// only that: see [ParseEnvelope].
func writtenMedia(e *Event) string {
	base := baseMedia(e.Media)
	if e.Kind == JSON && isString(e.Data) {
		if saysJSON(base) {
			return e.Media
		}
		return mediaJSON
	}
	switch base {
	case "", "text/plain", mediaJSON, mediaForm, "multipart/form-data":
		return ""
	}
	if e.Kind == Text && saysJSON(base) {
		return "" // text that claims to be JSON and is not
	}
	return e.Media
}

// saysJSON reports whether a media type without parameters is one of JSON
// (RFC 6839 §3.1).
func saysJSON(base string) bool { return base == mediaJSON || strings.HasSuffix(base, "+json") }

// isString reports whether a JSON value is a string.
func isString(value []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(value, jsonSpace), []byte{'"'})
}

const jsonSpace = " \t\r\n" // RFC 8259 §2

// AppendDataURL appends the data as a URL (RFC 2397): data:MEDIA;base64,DATA.
// Whatever the media type holds, the URL is ASCII and needs no escape in JSON,
// HTML or an event stream.
func AppendDataURL(dst []byte, media string, data []byte) []byte {
	if media == "" {
		media = "application/octet-stream"
	}
	dst = append(dst, "data:"...)
	dst = appendURLMedia(dst, media)
	dst = append(dst, ";base64,"...)
	return base64.StdEncoding.AppendEncode(dst, data)
}

// appendURLMedia appends a media type as a data URL wants it: "parameter
// values should use the URL Escaped encoding" (RFC 2397 §3), and the white
// space before a parameter has no meaning.
func appendURLMedia(dst []byte, media string) []byte {
	quoted := false
	for i := range len(media) {
		switch c := media[i]; {
		case isURLMedia(c):
			dst = append(dst, c)
		case !quoted && (c == ' ' || c == '\t'):
		default:
			if c == '"' && (i == 0 || media[i-1] != '\\') {
				quoted = !quoted
			}
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// isURLMedia reports whether c stands for itself in the media type of a data
// URL. Of what RFC 3986 §2 allows, that is what media types use.
func isURLMedia(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("-._~!$*+/;=", c) >= 0
}

const (
	upperHex = "0123456789ABCDEF"
	lowerHex = "0123456789abcdef"
)

// appendOneLine appends JSON as one line: it may hold CR and LF only between
// tokens, where a space is as good.
func appendOneLine(dst, value []byte) []byte {
	start := len(dst)
	dst = append(dst, value...)
	for _, end := range [...]byte{'\r', '\n'} {
		for rest := dst[start:]; ; {
			i := bytes.IndexByte(rest, end)
			if i < 0 {
				break
			}
			rest[i] = ' '
			rest = rest[i+1:]
		}
	}
	return dst
}

// quoteJSON is s as a JSON string.
func quoteJSON(s string) []byte { return appendQuoted(nil, s) }

// appendQuoted appends s as a JSON string. Beyond what RFC 8259 §7 wants, it
// escapes what some reader takes for the end of a line or of a script: DEL, C1
// (with NEL), U+2028 and U+2029. What is not UTF-8 becomes U+FFFD.
func appendQuoted[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	start := 0 // of what is still to be appended as it is
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		r, size := rune(c), 1
		if c >= utf8.RuneSelf {
			// Of a short conversion the compiler makes no allocation.
			r, size = utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r > '\u009f' && r != '\u2028' && r != '\u2029' && (r != utf8.RuneError || size > 1) {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		dst = appendEscape(dst, r)
		i += size
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// plain holds for the bytes that a JSON string may hold without a thought.
var plain = func() (plain [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		plain[c] = c != '"' && c != '\\' && c != '\x7f'
	}
	return plain
}()

// appendEscape appends the escape of a code point below U+10000.
func appendEscape(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', lowerHex[r>>12&15], lowerHex[r>>8&15], lowerHex[r>>4&15], lowerHex[r&15])
}

// validJSON reports whether data is one JSON value, in UTF-8 and not nested
// deeper than every reader of it can be expected to go.
func validJSON(data []byte) bool { return jsonscan.Valid(data) }
