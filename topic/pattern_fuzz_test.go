package topic

import (
	"errors"
	"strings"
	"testing"
)

// FuzzPattern holds ParsePattern and Match to what the words of the protocol
// say, done the slow way.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"a/*/c", "a/b/c"}, {"**", "a/$b"}, {"a/**", "a"}, {"*/**", "a/b/c"}, {"$a/*", "$a/b"}, {"a", "a"}, {"a*b", "a"}, {"**/a", "b/a"},
		{"*/*/*", "a/b"}, {"a/***", "a/***"}, {"*", "$"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, topic string) {
		p, err := ParsePattern(pattern)
		if want := slowIsPattern(pattern); want != (err == nil) {
			t.Fatalf("want ok %v, got %v", want, err)
		}
		if e, _ := errors.AsType[*NameError](CheckName(topic)); err != nil || e != nil && !e.System {
			return
		}
		if got, want := p.Match(topic), slowMatch(strings.Split(pattern, "/"), strings.Split(topic, "/")); got != want {
			t.Fatalf("%q matches %q: got %v, want %v", pattern, topic, got, want)
		}
		if own := mustPattern(t, topic); !own.Literal() || !own.Match(topic) {
			t.Fatalf("%q does not match itself", topic)
		}
	})
}

// slowIsPattern: with other segments for its wildcards, a pattern is a name,
// though it may be one of the system.
func slowIsPattern(s string) bool {
	segments := strings.Split(s, "/")
	for i, segment := range segments {
		if segment == "*" || segment == "**" && i == len(segments)-1 {
			segments[i] = strings.Repeat("x", len(segment))
		}
	}
	e, _ := errors.AsType[*NameError](CheckName(strings.Join(segments, "/")))
	return e == nil || e.System
}

func slowMatch(pattern, topic []string) bool {
	if len(pattern) == 0 || len(topic) == 0 {
		return len(pattern) == len(topic)
	}
	wild := pattern[0] == "*" || pattern[0] == "**"
	if wild && topic[0] != "" && topic[0][0] == '$' || !wild && pattern[0] != topic[0] {
		return false
	}
	if pattern[0] == "**" && slowMatch(pattern, topic[1:]) {
		return true
	}
	return slowMatch(pattern[1:], topic[1:])
}
