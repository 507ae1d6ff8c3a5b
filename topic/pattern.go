package topic

import (
	"iter"
	"strings"
)

// The wildcards of a pattern. Each is a whole segment. Neither matches a
// segment of the system, one that begins with "$".
const (
	wildSegment = "*"  // exactly one segment
	wildTail    = "**" // one or more; the last segment of its pattern
)

// A Pattern selects topics by name: one topic if it is literal, else all that
// its wildcards match. Patterns are compared with ==. The zero Pattern matches
// no topic.
type Pattern struct {
	text string
	wild bool
}

// ParsePattern reads a pattern. A name is a pattern too, also one of the
// system, which may be read. Errors are *NameError.
func ParsePattern(s string) (Pattern, error) {
	if reason := nameFault(s); reason != "" {
		return Pattern{}, &NameError{Name: s, Reason: reason}
	}
	p := Pattern{text: s, wild: strings.Contains(s, "*")}
	if !p.wild || s == wildTail {
		return p, nil
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(s, "/"+wildTail), "/") {
		switch {
		case segment == wildTail:
			return Pattern{}, &NameError{Name: s, Reason: `has "**" before its last segment`}
		case segment != wildSegment && strings.Contains(segment, "*"):
			return Pattern{}, &NameError{Name: s, Reason: `has a "*" that is not a whole segment`}
		}
	}
	return p, nil
}

// Literal reports whether the pattern is the name of one topic.
func (p Pattern) Literal() bool { return !p.wild }

func (p Pattern) String() string { return p.text }

// Segments gives the segments in their order, wildcards as they are written.
func (p Pattern) Segments() iter.Seq[string] { return strings.SplitSeq(p.text, "/") }

// Match reports whether the pattern selects the topic, which must be a name.
func (p Pattern) Match(topic string) bool {
	if !p.wild {
		return p.text == topic
	}
	if p.text == wildTail {
		return !holdsSystem(topic)
	}
	if head, ok := strings.CutSuffix(p.text, "/"+wildTail); ok {
		rest, ok := cutSegments(topic, head)
		return ok && rest != "" && !holdsSystem(rest)
	}
	rest, ok := cutSegments(topic, p.text)
	return ok && rest == ""
}

// cutSegments returns what of a topic follows the segments of a pattern, without
// the "/" between, if it begins with what they match. They are not "**". It goes
// along both once: there may be thousands to compare, made to take long.
func cutSegments(topic, segments string) (rest string, ok bool) {
	at := 0
	for i := range len(segments) {
		switch {
		case at == len(topic):
			return "", false
		case segments[i] == '*': // all of its segment
			if topic[at] == '$' {
				return "", false
			}
			for at < len(topic) && topic[at] != '/' {
				at++
			}
		case segments[i] != topic[at]:
			return "", false
		default:
			at++
		}
	}
	if at == len(topic) {
		return "", true
	}
	return topic[at+1:], topic[at] == '/'
}
