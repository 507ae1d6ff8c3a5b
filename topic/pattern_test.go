package topic

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func mustPattern(t testing.TB, s string) Pattern {
	t.Helper()
	p, err := ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// PROTOCOL.md §2.2: "*" matches one segment, "**" (last only) one or
// more; wildcards do not match segments that begin with "$".
func TestPatternMatch(t *testing.T) {
	tests := []struct{ pattern, matches, others string }{
		{"a", "a", "b|a/a|aa|A"},
		{"a/b", "a/b", "a|a/b/c|a/bb|b"},
		{"*", "a|ü| ", "a/b|$a"},
		{"*/*", "a/b|a/a", "a|a/b/c|$a/b|a/$b"},
		{"a/*", "a/b|a/a$", "a|b/a|a/b/c|a/$b|aa/b"},
		{"*/b", "a/b|b/b", "b|a/c|a/b/b|$a/b"},
		{"a/*/c", "a/b/c|a/a/c", "a/c|a/b/b/c|a/b/d|a/$b/c|a/b/c/c"},
		{"**", "a|a/b|a/b/c/d", "$a|$a/b|a/$b|a/b/$c/d"},
		{"a/**", "a/b|a/b/c|a/a/a/a", "a|b/a|aa/b|a/$b|a/b/$c|$a/b"},
		{"a/*/**", "a/b/c|a/b/c/d", "a|a/b|a/$b/c|a/b/$c|a/b/c/$d"},
		{"*/**", "a/b|a/b/c", "a|$a/b|a/$b"},
		// What is not a wildcard matches the system's segments.
		{"$a", "$a", "a|$a/b"},
		{"$a/*", "$a/b", "$a|$a/$b|$a/b/c"},
		{"$a/**", "$a/b|$a/b/c", "$a|$a/$b|$a/b/$c"},
		{"*/$a", "b/$a", "$b/$a|$a"},
		{"*/$a/**", "b/$a/c", "b/$a|b/$a/$c"},
		// Nothing but "*" has a meaning of its own.
		{"a.b/*", "a.b/c", "axb/c"},
		{"a?/*", "a?/[x]", "ab/c"},
	}
	for _, test := range tests {
		p := mustPattern(t, test.pattern)
		for topic := range strings.SplitSeq(test.matches, "|") {
			if !p.Match(topic) {
				t.Errorf("%s does not match %s", p, topic)
			}
		}
		for topic := range strings.SplitSeq(test.others, "|") {
			if p.Match(topic) {
				t.Errorf("%s matches %s", p, topic)
			}
		}
		if p.Literal() == strings.Contains(test.pattern, "*") {
			t.Errorf("%s: Literal is %v", p, p.Literal())
		}
		if p.String() != test.pattern || p != mustPattern(t, strings.Clone(test.pattern)) {
			t.Errorf("%s: String is %s", test.pattern, p)
		}
		if got, want := slices.Collect(p.Segments()), strings.Split(test.pattern, "/"); !slices.Equal(got, want) {
			t.Errorf("%s: segments %q", p, got)
		}
	}
	if (Pattern{}).Match("a") {
		t.Error("the zero Pattern matches")
	}
}

func TestParsePatternRefuses(t *testing.T) {
	const (
		middle = `has "**" before its last segment`
		whole  = `has a "*" that is not a whole segment`
	)
	for s, reason := range map[string]string{
		"a*b":                           whole,
		"a*":                            whole,
		"*a":                            whole,
		"a/*b/c":                        whole,
		"***":                           whole,
		"a/***":                         whole,
		"a/b**":                         whole,
		"**a":                           whole,
		"$*":                            whole,
		"a*/**":                         whole,
		"**/a":                          middle,
		"**/**":                         middle,
		"a/**/b":                        middle,
		"a/**/*":                        middle,
		"":                              "is empty",
		"*//a":                          "has an empty segment",
		"**/":                           "has an empty segment",
		"/**":                           "has an empty segment",
		"*/..":                          `has a segment "." or ".."`,
		"*/\n":                          "holds a control character",
		"*/\xff":                        "is not valid UTF-8",
		"*/" + strings.Repeat("x", 254): "is longer than 255 bytes",
	} {
		p, err := ParsePattern(s)
		e, ok := errors.AsType[*NameError](err)
		if !ok || p != (Pattern{}) || e.Name != s || e.Reason != reason || e.System {
			t.Errorf("%q: got %v, %v; want %q", s, p, err, reason)
		}
	}
}

func TestMatchWithoutAllocation(t *testing.T) {
	for _, s := range []string{"orders/eu/42", "orders/*/42", "orders/**"} {
		p := mustPattern(t, s)
		if n := testing.AllocsPerRun(100, func() {
			if !p.Match("orders/eu/42") || p.Match("orders/$eu/42") {
				t.Fatal("wrong")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", p, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, s := range []string{"orders/eu/42", "orders/*/42", "orders/**"} {
		b.Run(strings.ReplaceAll(s, "/", "."), func(b *testing.B) {
			p := mustPattern(b, s)
			b.ReportAllocs()
			for b.Loop() {
				p.Match("orders/eu/42")
			}
		})
	}
}
