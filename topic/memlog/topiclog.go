package memlog

import (
	"sort"

	"github.com/duplexhq/duplex/topic"
)

// topicLog is what is known of one topic. There may be millions: 80 bytes.
type topicLog struct {
	name   string
	ring   []*topic.Entry // its entries from head on, oldest first; the length is a power of two
	head   uint32
	count  uint32
	bytes  int64  // of the data of its events
	gone   loss   // its newest entry that was removed; see Log.lossOf
	policy uint16 // index into Log.policies
	listed bool   // in Log.losses
}

// Name is for the list of names.
func (t *topicLog) Name() string { return t.name }

// A loss is an entry that was removed, and when that was on the loss clock.
type loss struct{ seq, at uint64 }

// hits reports whether a reader that was given everything up to seq, and told
// of the losses up to told, misses the entry.
func (x loss) hits(seq, told uint64) bool { return x.seq > seq && x.at > told }

func (t *topicLog) len() int { return int(t.count) }

func (t *topicLog) at(i int) *topic.Entry { return t.ring[(int(t.head)+i)&(len(t.ring)-1)] }

// ended reports whether the newest entry is the end of the topic.
func (t *topicLog) ended() bool { return t.count > 0 && t.at(t.len()-1).IsEnd() }

// events returns how many there are, without the end.
func (t *topicLog) events() int {
	if t.ended() {
		return t.len() - 1
	}
	return t.len()
}

// after returns the index of the first entry after seq, the length if there is
// none.
func (t *topicLog) after(seq uint64) int {
	n := t.len()
	if n == 0 || t.at(n-1).ID.Seq <= seq { // most readers are here
		return n
	}
	return sort.Search(n, func(i int) bool { return t.at(i).ID.Seq > seq })
}

// entry returns the entry of the sequence number, which must be there.
func (t *topicLog) entry(seq uint64) *topic.Entry { return t.at(t.after(seq - 1)) }

func (t *topicLog) push(e *topic.Entry) {
	n := t.len()
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
	if t.count--; t.len() <= len(t.ring)/4 {
		t.resize(len(t.ring) / 2)
	}
	return e
}

func (t *topicLog) resize(size int) {
	ring := make([]*topic.Entry, size)
	for i := range t.len() {
		ring[i] = t.at(i)
	}
	t.ring, t.head = ring, 0
}
