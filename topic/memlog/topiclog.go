package memlog

import (
	"sort"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// topicLog is what is known of one topic. There may be millions: 80 bytes.
type topicLog struct {
	name   string
	ring   []*topic.Entry // its entries from head on, oldest first; the length is a power of two
	head   uint32
	count  uint32
	bytes  int64     // of the data of its events
	gone   keep.Loss // its newest entry that was removed; see Log.lossOf
	policy uint16    // index into Log.policies
	listed bool      // in Log.losses
}

// Name is for keep.Names; Len and Seq are for keep.Merge.
func (t *topicLog) Name() string { return t.name }

func (t *topicLog) Len() int         { return int(t.count) }
func (t *topicLog) Seq(i int) uint64 { return t.at(i).ID.Seq }

func (t *topicLog) at(i int) *topic.Entry { return t.ring[(int(t.head)+i)&(len(t.ring)-1)] }

// ended reports whether the newest entry is the end of the topic.
func (t *topicLog) ended() bool { return t.count > 0 && t.at(t.Len()-1).IsEnd() }

// events returns how many there are, without the end.
func (t *topicLog) events() int {
	if t.ended() {
		return t.Len() - 1
	}
	return t.Len()
}

// after returns the index of the first entry after seq, the length if there is
// none.
func (t *topicLog) after(seq uint64) int {
	n := t.Len()
	if n == 0 || t.Seq(n-1) <= seq { // most readers are here
		return n
	}
	return sort.Search(n, func(i int) bool { return t.Seq(i) > seq })
}

// entry returns the entry of the sequence number, which must be there.
func (t *topicLog) entry(seq uint64) *topic.Entry { return t.at(t.after(seq - 1)) }

func (t *topicLog) push(e *topic.Entry) {
	n := t.Len()
	if n == len(t.ring) {
		t.resize(max(1, 2*n))
	}
	t.ring[(int(t.head)+n)&(len(t.ring)-1)] = e
	t.count++
}

func (t *topicLog) pop() *topic.Entry {
	e := t.at(0)
	t.ring[t.head] = nil
	t.head = (t.head + 1) & uint32(len(t.ring)-1)
	if t.count--; t.Len() <= len(t.ring)/4 {
		t.resize(len(t.ring) / 2)
	}
	return e
}

func (t *topicLog) resize(size int) {
	ring := make([]*topic.Entry, size)
	for i := range t.Len() {
		ring[i] = t.at(i)
	}
	t.ring, t.head = ring, 0
}
