package keep

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type seqs []uint64

func (s *seqs) Len() int         { return len(*s) }
func (s *seqs) Seq(i int) uint64 { return (*s)[i] }

// A merge is what sorting is, from wherever it begins, and either way.
func TestMergeAgainstSort(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		topics := make([]*seqs, 1+r.IntN(6))
		for i := range topics {
			topics[i] = new(seqs)
		}
		for seq := range uint64(r.IntN(40)) {
			s := topics[r.IntN(len(topics))]
			*s = append(*s, seq+1)
		}
		m := Merge[*seqs]{Back: r.IntN(2) == 0}
		var want []uint64
		for i := range topics {
			s := topics[r.IntN(i+1)] // one may come twice, with another beginning
			at := r.IntN(len(*s)+3) - 1
			m.Add(s, at)
			switch {
			case at < 0 || at >= len(*s):
			case m.Back:
				want = append(want, (*s)[:at+1]...)
			default:
				want = append(want, (*s)[at:]...)
			}
		}
		slices.Sort(want)
		want = slices.Compact(want)
		if m.Back {
			slices.Reverse(want)
		}
		var got []uint64
		for s, i := range m.All() {
			got = append(got, s.Seq(i))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("back %v: %d, want %d", m.Back, got, want)
		}
	}
}
