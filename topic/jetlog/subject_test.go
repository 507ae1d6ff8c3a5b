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

func TestFilterOf(t *testing.T) {
	for pattern, want := range map[string]string{
		"a/b":    "duplex.topic.a.b",
		"*":      "duplex.topic.*",
		"**":     "duplex.topic.>",
		"a/*/c":  "duplex.topic.a.*.c",
		"a.b/**": "duplex.topic.a%2Eb.>",
		"*/$s":   "duplex.topic.*.$s",
	} {
		if got := filterOf(pattern1(t, pattern)); got != want {
			t.Errorf("filter of %q: %q, want %q", pattern, got, want)
		}
	}
}

// FuzzSubject checks that no topic reaches a subject that is not its own, and
// that a filter lets through what its pattern matches and nothing else but
// segments of the system.
func FuzzSubject(f *testing.F) {
	f.Add("a/b", "a.b", "a/*")
	f.Add("$JS/API", "%24JS/API", "**")
	f.Add("a/ /b", "a/%20/b", "*/*/b")
	f.Add("a>", "a/>", "a/**")
	f.Fuzz(func(t *testing.T, a, b, pattern string) {
		p, err := topic.ParsePattern(pattern)
		valid := err == nil
		for _, name := range []string{a, b} {
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
			if !valid {
				continue
			}
			passes := filterMatches(filterOf(p), subject)
			system := strings.HasPrefix(name, "$") || strings.Contains(name, "/$")
			if p.Match(name) != passes && !(passes && system) {
				t.Fatalf("pattern %q matches %q: %v, its filter %q matches %q: %v", pattern, name, p.Match(name), filterOf(p), subject, passes)
			}
		}
		if (a == b) != (subjectOf(a) == subjectOf(b)) {
			t.Fatalf("topics %q and %q have subjects %q and %q", a, b, subjectOf(a), subjectOf(b))
		}
	})
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

// filterMatches is what NATS does with a filter.
func filterMatches(filter, subject string) bool {
	want, have := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, token := range want {
		if token == ">" {
			return len(have) > i
		}
		if i >= len(have) || token != "*" && token != have[i] {
			return false
		}
	}
	return len(want) == len(have)
}

func pattern1(tb testing.TB, s string) topic.Pattern {
	tb.Helper()
	p, err := topic.ParsePattern(s)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}
