package jetlog

import (
	"strings"

	"github.com/duplexhq/duplex/topic"
)

// The subjects of the stream. All lie below one token of ours, so no topic can
// reach the subjects of the server ("$JS...", "$SYS...") or of other programs.
const (
	topicSubjects = "duplex.topic." // and the segments of the topic, as tokens
	groupSubject  = "duplex.group"  // messages that hold events of several topics
	oldSubject    = "duplex.old"    // entries that were carried out of the way
)

const upperHex = "0123456789ABCDEF"

// subjectOf returns the subject of a topic. Different topics have different
// subjects: each segment is a token in which the bytes that a token cannot
// hold are written as %XX.
func subjectOf(name string) string {
	b := make([]byte, 0, len(topicSubjects)+len(name)+8)
	return string(appendTokens(append(b, topicSubjects...), name))
}

func appendTokens(dst []byte, name string) []byte {
	for i := range len(name) {
		switch c := name[i]; {
		case c == '/':
			dst = append(dst, '.')
		case c <= ' ' || c == 0x7f || c == '.' || c == '*' || c == '>' || c == '%':
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// filterOf returns the subject filter of a pattern. It lets through all that
// the pattern matches, and for a wildcard also segments of the system: who
// reads must match once more.
func filterOf(p topic.Pattern) string {
	if p.Literal() {
		return subjectOf(p.String())
	}
	dst := []byte(topicSubjects)
	for segment := range p.Segments() {
		switch segment {
		case "*":
			dst = append(dst, '*')
		case "**":
			dst = append(dst, '>')
		default:
			dst = appendTokens(dst, segment)
		}
		dst = append(dst, '.')
	}
	return string(dst[:len(dst)-1])
}

// topicOf returns the topic that has the subject, if one has.
func topicOf(subject string) (name string, ok bool) {
	tokens, ok := strings.CutPrefix(subject, topicSubjects)
	if !ok || tokens == "" {
		return "", false
	}
	b := make([]byte, 0, len(tokens))
	for i := 0; i < len(tokens); i++ {
		switch c := tokens[i]; c {
		case '.':
			b = append(b, '/')
		case '%':
			if i+2 >= len(tokens) {
				return "", false
			}
			high, low := strings.IndexByte(upperHex, tokens[i+1]), strings.IndexByte(upperHex, tokens[i+2])
			if high < 0 || low < 0 {
				return "", false
			}
			b = append(b, byte(high<<4|low))
			i += 2
		default:
			b = append(b, c)
		}
	}
	name = string(b)
	return name, subjectOf(name) == subject // the escape has one form only
}
