package index

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// Who looks for losses by name, or in the list of them in small steps, finds those that there
// are.
func TestMisses(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	bounds := keep.Default(topic.Bounds{RetainEvents: 2})
	x := New(&bounds)
	segment := func() string { return fmt.Sprint(r.IntN(3)) }
	for n := range uint64(300) {
		name := segment()
		for r.IntN(3) > 0 && len(name) < 7 {
			name += "/" + segment()
		}
		x.Append(x.topics[name], name, &topic.Draft{}, n+1, n+1, 0)
	}
	found := 0
	for range 1000 {
		var segments []string
		for r.IntN(3) > 0 {
			segments = append(segments, []string{segment(), "*"}[r.IntN(2)])
		}
		p := pattern(t, strings.Join(append(segments, []string{"*", "**"}[r.IntN(2)]), "/"))
		seq := r.Uint64N(x.End + 1)
		told := []uint64{0, r.Uint64N(x.Clock + 1)}[r.IntN(2)]
		want := false
		for _, topic := range x.topics {
			want = want || topic.lost().Hits(seq, told) && p.Match(topic.name)
		}
		search := keep.SearchFor([]topic.Pattern{p}, seq, told)
		if got, known := x.missesBelow(&search); got != want || !known {
			t.Fatalf("%s after %d, told %d: %v, %v by name, want %v", p, seq, told, got, known, want)
		}
		of := func(t *Topic) (string, keep.Loss) { return t.name, t.lost() }
		got, known := false, false
		for steps := 0; !known; steps++ {
			most := 1 + r.IntN(50)
			if got, known = keep.SearchLosses(&search, &x.losses, x.lost, of, &most); steps > 400 {
				t.Fatalf("%s after %d, told %d: no end", p, seq, told)
			}
		}
		if got != want {
			t.Fatalf("%s after %d, told %d: %v in steps, want %v", p, seq, told, got, want)
		}
		if want {
			found++
		}
	}
	if found < 100 || found > 900 {
		t.Errorf("%d of 1000 miss something", found)
	}
}

func pattern(tb testing.TB, s string) topic.Pattern {
	tb.Helper()
	p, err := topic.ParsePattern(s)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}
