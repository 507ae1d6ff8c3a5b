package jetlog

import (
	"math"
	"slices"
	"sort"

	"github.com/duplexhq/duplex/topic/internal/keep"
)

// topicLog is what is known of one topic. There may be millions: 80 bytes.
type topicLog struct {
	name   string
	number uint32   // in index.numbered, from 1 on
	space  uint32   // of the array below seqs
	seqs   []uint64 // its entries, oldest first; ends with that of the topic's end
	bytes  int64    // of the data of its events
	policy *keep.Policy
	losses *lastLoss // nil if nothing was lost
	ended  bool      // its newest entry is its end
}

// Name is for keep.Names; Len and Seq are for keep.Merge.
func (t *topicLog) Name() string { return t.name }

func (t *topicLog) Len() int         { return len(t.seqs) }
func (t *topicLog) Seq(i int) uint64 { return t.seqs[i] }

// lastLoss is the newest loss of a topic. Several may be of one time, as the messages
// of nodes say it: so they are listed by a number of their own.
type lastLoss struct {
	keep.Loss
	listed uint64 // in index.losses; 0: not, as what had been forgotten when the topic was new
}

func (t *topicLog) lost() keep.Loss {
	if t.losses == nil {
		return keep.Loss{}
	}
	return t.losses.Loss
}

// events returns how many there are, without the end.
func (t *topicLog) events() int {
	if t.ended {
		return len(t.seqs) - 1
	}
	return len(t.seqs)
}

// newest returns its newest entry, which must be there.
func (t *topicLog) newest() uint64 { return t.seqs[len(t.seqs)-1] }

func (t *topicLog) push(seq uint64) {
	if len(t.seqs) == cap(t.seqs) {
		space := max(1, 2*len(t.seqs))
		t.seqs = append(make([]uint64, 0, space), t.seqs...)
		t.space = uint32(min(space, math.MaxUint32))
	}
	t.seqs = append(t.seqs, seq)
}

// remove removes an entry, mostly the oldest.
func (t *topicLog) remove(i int) {
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

// after returns the index of the first entry after seq, the length if there is
// none.
func (t *topicLog) after(seq uint64) int {
	n := len(t.seqs)
	if n == 0 || t.seqs[n-1] <= seq { // most readers are here
		return n
	}
	return sort.Search(n, func(i int) bool { return t.seqs[i] > seq })
}
