package topic

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// The index finds what matching each pattern by itself finds, and holds
// nothing of what was removed.
func TestIndexAgainstMatch(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
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
				p, err := ParsePattern(randomName(rng, true))
				if err != nil {
					t.Fatal(err)
				}
				s.patterns = append(s.patterns, p) // maybe twice
			}
			s.slots = new(make([]int32, len(s.patterns)-1))
			x.add(s)
			subscriptions = append(subscriptions, s)
		}
		topic := randomName(rng, false)
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

// Patterns that are made to part late cost a topic no more than to go along each
// of them once.
func TestIndexHasFewNodes(t *testing.T) {
	x := newIndex()
	patterns := slowPatterns(t, 1000)
	for _, p := range patterns {
		x.add(&subscription{patterns: []Pattern{p}})
	}
	var count func(n *node) int
	count = func(n *node) int {
		nodes := 1
		for _, c := range n.children {
			nodes += count(c)
		}
		return nodes
	}
	if nodes := count(&x.root); nodes > 2*len(patterns) {
		t.Errorf("%d nodes for %d patterns", nodes, len(patterns))
	}
	// What was split is joined again: all but the first go.
	for _, p := range patterns[1:] {
		x.remove((*x.bucket(p))[0].subscription)
	}
	if nodes := count(&x.root); nodes != 2 {
		t.Errorf("%d nodes for one pattern", nodes-1)
	}
}

// What an event costs that is compared with 1,000 patterns made to take long.
func BenchmarkIndexOfSlowPatterns(b *testing.B) {
	x := newIndex()
	for _, p := range slowPatterns(b, 1000) {
		x.add(&subscription{patterns: []Pattern{p}})
	}
	for b.Loop() {
		x.match(slowTopic(1), func(bucket) {})
	}
}
