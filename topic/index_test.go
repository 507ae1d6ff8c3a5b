package topic

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// The index finds what matching each pattern by itself finds, and holds
// nothing of what was removed.
func TestIndexAgainstMatch(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	segments := []string{"a", "b", "ab", "$s", "$"}
	name := func(wild bool) string {
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
	x := newIndex()
	var subscriptions []*subscription
	for range 20_000 {
		if n := len(subscriptions); n > 0 && rng.IntN(200) < n { // 100 of them on average
			i := rng.IntN(n)
			x.remove(subscriptions[i])
			subscriptions = slices.Delete(subscriptions, i, i+1)
		} else {
			s := &subscription{}
			for range 1 + rng.IntN(3) {
				p, err := ParsePattern(name(true))
				if err != nil {
					t.Fatal(err)
				}
				s.patterns = append(s.patterns, p) // maybe twice
			}
			s.slots = new(make([]int32, len(s.patterns)-1))
			x.add(s)
			subscriptions = append(subscriptions, s)
		}
		topic := name(false)
		got := make(map[*subscription]int)
		x.match(topic, func(b bucket) {
			for _, p := range b {
				got[p.subscription]++
			}
		})
		for _, s := range subscriptions {
			want := 0
			for _, p := range s.patterns {
				if p.Match(topic) {
					want++
				}
			}
			if got[s] != want {
				t.Fatalf("topic %q, patterns %v: %d visits, want %d", topic, s.patterns, got[s], want)
			}
			delete(got, s)
		}
		if len(got) > 0 {
			t.Fatalf("topic %q: %d visits of removed subscriptions", topic, len(got))
		}
	}
	for _, s := range subscriptions {
		x.remove(s)
	}
	if len(x.literal) > 0 || len(x.root.children) > 0 || len(x.root.here) > 0 || len(x.root.deep) > 0 {
		t.Errorf("left behind: %+v", x)
	}
}
