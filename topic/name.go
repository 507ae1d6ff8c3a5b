package topic

import (
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxNameBytes bounds the name of a topic, and a pattern.
const MaxNameBytes = 255

// A NameError says why a name or a pattern is refused.
type NameError struct {
	Name   string // as it was given
	Reason string
	// System says that the name itself is good, but belongs to the system:
	// it may be read, not published to.
	System bool
}

func (e *NameError) Error() string { return "topic: name " + quote(e.Name) + " " + e.Reason }

// CheckName refuses, with a *NameError, names that nobody may publish to: those
// that are no topic name (PROTOCOL.md §2.1) and those of the system,
// which have a segment that begins with "$". A name that is wrong in both ways
// is no name.
func CheckName(name string) error {
	if isPlain(name) {
		return nil
	}
	if reason := nameFault(name); reason != "" {
		return &NameError{Name: name, Reason: reason}
	}
	if strings.Contains(name, "*") {
		return &NameError{Name: name, Reason: `holds "*", which only patterns may`}
	}
	if holdsSystem(name) {
		return &NameError{Name: name, Reason: `has a segment that begins with "$", which only the system's own may`, System: true}
	}
	return nil
}

// isPlain reports whether a name is good because it has nothing but ASCII letters,
// digits, "-" and "_" in its segments, as most have: each publish asks.
func isPlain(name string) bool {
	before := byte('/')
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', 'A' <= c && c <= 'Z', c == '-', c == '_':
		case c == '/' && before != '/':
		default:
			return false
		}
		before = c
	}
	return before != '/' && len(name) <= MaxNameBytes
}

// Unescape decodes the part of an escaped URL path that names a topic or a
// pattern. An escaped "/" is refused: proxies disagree about what it means.
// The result is valid UTF-8, but not yet a checked name. Errors are
// *NameError.
func Unescape(escaped string) (string, error) {
	for rest := escaped; ; {
		_, after, found := strings.Cut(rest, "%")
		if !found {
			break
		}
		if len(after) >= 2 && strings.EqualFold(after[:2], "2f") {
			return "", &NameError{Name: escaped, Reason: `holds an escaped "/"`}
		}
		rest = after
	}
	name, err := url.PathUnescape(escaped)
	if err != nil {
		return "", &NameError{Name: escaped, Reason: "holds a malformed escape"}
	}
	if !utf8.ValidString(name) {
		return "", &NameError{Name: escaped, Reason: reasonUTF8}
	}
	return name, nil
}

const reasonUTF8 = "is not valid UTF-8"

// nameFault says what is wrong with a text that shall be a name or a pattern,
// as far as the same holds for both.
func nameFault(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > MaxNameBytes:
		return "is longer than 255 bytes"
	case !utf8.ValidString(name):
		return reasonUTF8
	case strings.ContainsFunc(name, unicode.IsControl): // C0, DEL and C1
		return "holds a control character"
	}
	for segment := range strings.SplitSeq(name, "/") {
		switch segment {
		case "":
			return "has an empty segment"
		case ".", "..": // clients and proxies resolve them (RFC 3986 §5.2.4)
			return `has a segment "." or ".."`
		}
	}
	return ""
}

// isSystem reports whether a segment is the system's.
func isSystem(segment string) bool { return strings.HasPrefix(segment, "$") }

// holdsSystem reports whether any segment of a name is the system's.
func holdsSystem(name string) bool { return isSystem(name) || strings.Contains(name, "/$") }

// quote is strconv.Quote for the text of errors: what a stranger sent is cut
// before it fills a log.
func quote(s string) string {
	const most = 2 * MaxNameBytes
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}
