package jetlog

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
	b = append(b, topicSubjects...)
	for i := range len(name) {
		switch c := name[i]; {
		case c == '/':
			b = append(b, '.')
		case c <= ' ' || c == 0x7f || c == '.' || c == '*' || c == '>' || c == '%':
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		default:
			b = append(b, c)
		}
	}
	return string(b)
}
