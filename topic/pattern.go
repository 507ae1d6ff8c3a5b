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
	pattern := p.text
	for {
		want, patternRest, patternGoesOn := strings.Cut(pattern, "/")
		if want == wildTail {
			return !holdsSystem(topic)
		}
		got, topicRest, topicGoesOn := strings.Cut(topic, "/")
		if want == wildSegment {
			if isSystem(got) {
				return false
			}
		} else if want != got {
			return false
		}
		if !patternGoesOn || !topicGoesOn {
			return patternGoesOn == topicGoesOn
		}
		pattern, topic = patternRest, topicRest
	}
}
