package index

import (
	"math"
	"slices"
	"sort"

	"github.com/duplexhq/duplex/topic/internal/keep"
)

// A Topic is what is known of one topic. There may be millions: 80 bytes.
type Topic struct {
	name   string
	number uint32   // in Index.numbered, from 1 on
	space  uint32   // of the array below seqs
	seqs   []uint64 // its entries, oldest first; ends with that of the topic's end
	Bytes  int64    // of the data of its events
	policy *keep.Policy
	losses *lastLoss // nil if nothing was lost
	Ended  bool      // its newest entry is its end
}

// Name is its name.
func (t *Topic) Name() string { return t.name }

// Len is how many entries there are.
func (t *Topic) Len() int { return len(t.seqs) }

// Seq is the number of an entry.
func (t *Topic) Seq(i int) uint64 { return t.seqs[i] }

// Events returns how many there are, without the end.
func (t *Topic) Events() int {
	if t.Ended {
		return len(t.seqs) - 1
	}
	return len(t.seqs)
}

// Newest returns its newest entry, which must be there.
func (t *Topic) Newest() uint64 { return t.seqs[len(t.seqs)-1] }

func (t *Topic) push(seq uint64) {
	if len(t.seqs) == cap(t.seqs) {
		space := max(1, 2*len(t.seqs))
		t.seqs = append(make([]uint64, 0, space), t.seqs...)
		t.space = uint32(min(space, math.MaxUint32))
	}
	t.seqs = append(t.seqs, seq)
}

// remove removes an entry, mostly the oldest.
func (t *Topic) remove(i int) {
	if i > 0 {
		t.seqs = slices.Delete(t.seqs, i, i+1)
		return
	}
	t.seqs = t.seqs[1:]
	if uint64(len(t.seqs)) <= uint64(t.space)/4 {
		t.space = uint32(len(t.seqs))
		t.seqs = slices.Clip(slices.Clone(t.seqs))
	}
}

// After returns the index of the first entry after seq, the length if there is
// none.
func (t *Topic) After(seq uint64) int {
	n := len(t.seqs)
	if n == 0 || t.seqs[n-1] <= seq { // most readers are here
		return n
	}
	return sort.Search(n, func(i int) bool { return t.seqs[i] > seq })
}
