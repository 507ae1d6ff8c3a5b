package jetlog

import (
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
)

// tail is the newest part of the log in memory: consecutive entries, also those
// that the log does not keep.
type tail struct {
	most    int64
	bytes   int64
	ring    []*topic.Entry // from head on, oldest first; the length is a power of two
	head    int
	count   int
	firstAt uint64 // sequence number of the oldest
}

// push appends entries, which follow those that are there.
func (t *tail) push(entries []*topic.Entry) {
	if t.most <= 0 {
		return
	}
	for _, e := range entries {
		if t.count > 0 && e.ID.Seq != t.firstAt+uint64(t.count) {
			*t = tail{most: t.most}
		}
		if t.count == len(t.ring) {
			t.resize(max(64, 2*t.count))
		}
		if t.count == 0 {
			t.firstAt = e.ID.Seq
		}
		t.ring[(t.head+t.count)&(len(t.ring)-1)] = e
		t.count++
		t.bytes += index.Cost(len(e.Data))
		for t.bytes > t.most {
			t.pop()
		}
	}
}

func (t *tail) pop() {
	slot := &t.ring[t.head]
	t.bytes -= index.Cost(len((*slot).Data))
	*slot = nil
	t.head = (t.head + 1) & (len(t.ring) - 1)
	t.firstAt++
	if t.count--; t.count <= len(t.ring)/4 && len(t.ring) > 64 {
		t.resize(len(t.ring) / 2)
	}
}

func (t *tail) resize(size int) {
	ring := make([]*topic.Entry, size)
	for i := range t.count {
		ring[i] = t.ring[(t.head+i)&(len(t.ring)-1)]
	}
	t.ring, t.head = ring, 0
}

// entry returns the entry of a sequence number; nil if it is not in the tail.
func (t *tail) entry(seq uint64) *topic.Entry {
	if i := seq - t.firstAt; seq >= t.firstAt && i < uint64(t.count) {
		return t.ring[(t.head+int(i))&(len(t.ring)-1)]
	}
	return nil
}
