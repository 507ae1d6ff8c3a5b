package jetlog

import (
	"strings"
	"testing"

	"github.com/duplexhq/duplex/topic"
)

func TestSubjectOf(t *testing.T) {
	for name, want := range map[string]string{
		"a":            "duplex.topic.a",
		"orders/eu/42": "duplex.topic.orders.eu.42",
		"a.b":          "duplex.topic.a%2Eb",
		"a/b.c/d":      "duplex.topic.a.b%2Ec.d",
		"a b":          "duplex.topic.a%20b",
		"100%":         "duplex.topic.100%25",
		"%2E":          "duplex.topic.%252E",
		">":            "duplex.topic.%3E",
		"a/>":          "duplex.topic.a.%3E",
		"$JS/API":      "duplex.topic.$JS.API",
		"$SYS":         "duplex.topic.$SYS",
		"größe/日本":     "duplex.topic.größe.日本",
	} {
		if got := subjectOf(name); got != want {
			t.Errorf("subject of %q: %q, want %q", name, got, want)
		}
		if got, ok := topicOf(want); !ok || got != name {
			t.Errorf("topic of %q: %q, %v, want %q", want, got, ok, name)
		}
	}
	for _, subject := range []string{"", "a", "duplex.topic", "duplex.topic.", groupSubject, "duplex.topic.%", "duplex.topic.%2",
		"duplex.topic.%2e", "duplex.topic.%41", "duplex.topic.a*", "$JS.API.INFO", "$SYS.REQ"} {
		if name, ok := topicOf(subject); ok {
			t.Errorf("%q is the subject of topic %q", subject, name)
		}
	}
}

// FuzzSubject checks that no topic reaches a subject that is not its own.
func FuzzSubject(f *testing.F) {
	for _, name := range []string{"a/b", "a.b", "$JS/API", "%24JS/API", "a/ /b", "a/%20/b", "a>", "a/>"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if _, err := topic.ParsePattern(name); err != nil || strings.Contains(name, "*") {
			return // no name, and none of the system
		}
		subject := subjectOf(name)
		if !validSubject(subject) || subject == groupSubject || !strings.HasPrefix(subject, topicSubjects) {
			t.Fatalf("topic %q has subject %q", name, subject)
		}
		if got, ok := topicOf(subject); !ok || got != name {
			t.Fatalf("topic of %q: %q, %v, want %q", subject, got, ok, name)
		}
	})
}

// topicOf returns the topic that has the subject, if one has: so no two have the same.
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

// validSubject says whether a subject names exactly itself.
func validSubject(subject string) bool {
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" || token == "*" || token == ">" || strings.ContainsAny(token, " \t\r\n\x00") {
			return false
		}
	}
	return true
}

func pattern1(tb testing.TB, s string) topic.Pattern {
	tb.Helper()
	p, err := topic.ParsePattern(s)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}
