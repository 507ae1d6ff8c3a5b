package topic

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// A matcher finds what comparing with one pattern after the other does, also
// with so many that they are sets.
func TestMatcherAgainstMatch(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		patterns := make([]Pattern, rng.IntN(300))
		for i := range patterns {
			patterns[i] = mustPattern(t, randomName(rng, true))
		}
		m := NewMatcher(patterns)
		for range 100 {
			topic := randomName(rng, false)
			want := slices.IndexFunc(patterns, func(p Pattern) bool { return p.Match(topic) })
			if got := m.First(topic); got != want {
				t.Fatalf("topic %q, patterns %v: got %d, want %d", topic, patterns, got, want)
			}
		}
	}
}

// randomName is one of few names or, with wildcards, patterns.
func randomName(rng *rand.Rand, wild bool) string {
	segments := []string{"a", "b", "ab", "$s", "$"}
	var parts []string
	for range 1 + rng.IntN(4) {
		part := segments[rng.IntN(len(segments))]
		if wild && rng.IntN(3) == 0 {
			part = wildSegment
		}
		parts = append(parts, part)
	}
	if wild && rng.IntN(3) == 0 {
		parts[len(parts)-1] = wildTail
	}
	return strings.Join(parts, "/")
}

// slowPatterns are as many, as long and as hard to tell apart as a client may
// make them, and match nothing.
func slowPatterns(tb testing.TB, n int) []Pattern {
	var patterns []Pattern
	for i := range n {
		parts := strings.Split(strings.Repeat("a", MaxNameBytes/2+1), "")
		for bit := range 10 {
			if i>>bit&1 == 1 {
				parts[2*bit] = wildSegment
			}
		}
		for at := 30; at < len(parts); at += 2 {
			parts[at] = wildSegment
		}
		parts[len(parts)-1] = "b"
		patterns = append(patterns, mustPattern(tb, strings.Join(parts, "/")))
	}
	return patterns
}

func slowTopic(i int) string {
	return strings.Repeat("a/", MaxNameBytes/2-4) + fmt.Sprintf("%06d", i)
}

// What a topic costs that is compared with 1,000 patterns, one by one and by a
// matcher.
func BenchmarkManyPatterns(b *testing.B) {
	short := make([]Pattern, 1000)
	for i := range short {
		short[i] = mustPattern(b, fmt.Sprintf("chat/%d/*", i))
	}
	for _, kind := range []struct {
		name     string
		patterns []Pattern
		topic    string
	}{{"short", short, "chat/999/x"}, {"slow", slowPatterns(b, 1000), slowTopic(1)}} {
		b.Run(kind.name+"/each", func(b *testing.B) {
			for b.Loop() {
				_ = slices.IndexFunc(kind.patterns, func(p Pattern) bool { return p.Match(kind.topic) })
			}
		})
		b.Run(kind.name+"/Matcher", func(b *testing.B) {
			m := NewMatcher(kind.patterns)
			for b.Loop() {
				m.First(kind.topic)
			}
		})
		b.Run(kind.name+"/NewMatcher", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				NewMatcher(kind.patterns)
			}
		})
	}
}
