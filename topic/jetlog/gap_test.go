package jetlog

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/duplexhq/duplex/topic"
)

// Who looks for losses by name finds what is found among all losses.
func TestMissesBelow(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	o := (&Options{Bounds: topic.Bounds{RetainEvents: 2}}).withDefaults()
	x := newIndex(&o)
	segment := func() string { return fmt.Sprint(r.IntN(3)) }
	for n := range uint64(300) {
		name := segment()
		for r.IntN(3) > 0 && len(name) < 7 {
			name += "/" + segment()
		}
		x.append(x.topics[name], name, &topic.Draft{}, n+1, n+1, 0)
	}
	found := 0
	for range 1000 {
		var segments []string
		for r.IntN(3) > 0 {
			segments = append(segments, []string{segment(), "*"}[r.IntN(2)])
		}
		p := pattern1(t, strings.Join(append(segments, []string{"*", "**"}[r.IntN(2)]), "/"))
		seq := r.Uint64N(x.end + 1)
		told := []uint64{0, r.Uint64N(x.clock + 1)}[r.IntN(2)]
		want := x.missesAny([]topic.Pattern{p}, seq, told)
		if got, known := x.missesBelow(p, seq, told); got != want || !known {
			t.Fatalf("%s after %d, told %d: %v, %v, want %v", p, seq, told, got, known, want)
		}
		if want {
			found++
		}
	}
	if found < 100 || found > 900 {
		t.Errorf("%d of 1000 miss something", found)
	}
}
