package index

import (
	"math"

	"github.com/duplexhq/duplex/topic/internal/keep"
)

// Bound applies the limit of the log's bytes.
func (x *Index) Bound() {
	for x.Bytes > x.retainBytes {
		x.remove(x.oldest())
	}
}

// oldest returns the topic that has the oldest event of the log as its first
// entry; nil if there are no events.
func (x *Index) oldest() *Topic {
	for it := range x.Order.After(x.front) {
		if it.Live() && !it.Value.IsEnd() {
			return x.TopicOf(it)
		}
		x.front = it.Seq
	}
	return nil
}

// remove removes the first entry of the topic, and the topic if nothing is
// left of it.
func (x *Index) remove(t *Topic) { x.removeAt(t, 0) }

// removeAt removes an entry of the topic, wherever it stands.
func (x *Index) removeAt(t *Topic, i int) {
	seq := t.seqs[i]
	superseded := !(t.Ended && len(t.seqs) == 1) && x.Superseded(t, seq)
	if typ, ok := x.types[seq]; ok {
		delete(x.types, seq)
		if k := (typeOf{t, typ}); x.newestOfType[k] == seq {
			delete(x.newestOfType, k)
		}
	}
	t.remove(i)
	it := x.Order.Drop(seq)
	if it.IsEnd() {
		t.Ended = false
	} else {
		t.Bytes -= int64(it.size)
		x.Bytes -= Cost(int(it.size))
	}
	if !superseded {
		if x.Shared == nil { // else the messages say it
			x.Clock = max(x.Clock+1, x.End)
		}
		x.newestLost = max(x.newestLost, seq)
		x.lose(t, seq)
	}
	if len(t.seqs) == 0 {
		x.forget(t)
	}
}

// Expires returns when the oldest entry is over age, or earlier.
func (x *Index) Expires() int64 {
	at := int64(keep.Never)
	for _, a := range x.ages {
		at = min(at, a.Expires)
	}
	return at
}

// Expire lets go of entries and keys that are over age, and reports whether
// there may be more.
func (x *Index) Expire(now int64) (more bool) {
	n := 0
	for n < keep.ExpireItems && x.Keys.Expire(now) {
		n++
	}
	for _, a := range x.ages {
		for now >= a.Expires {
			if n++; n > keep.ExpireItems {
				return true
			}
			it := x.oldestOf(a)
			if it == nil {
				a.Expires = keep.Never
				break
			}
			if a.Expires = a.Expiry(it.Value.Nanos); now >= a.Expires {
				x.remove(x.TopicOf(it))
			}
		}
	}
	return n >= keep.ExpireItems
}

// oldestOf returns the oldest entry of the topics that have this age; nil if
// there is none.
func (x *Index) oldestOf(a *keep.Age) *Item {
	for it := range x.Order.After(a.Front) {
		if it.Live() && x.TopicOf(it).policy.Age == a {
			return it
		}
		a.Front = it.Seq
	}
	return nil
}

// Overdue reports whether there is something over age.
func (x *Index) Overdue(nanos int64) bool {
	k := x.Keys.Oldest()
	return nanos >= x.Expires() || k != nil && nanos >= k.Expires
}

// OldestMessages returns the oldest messages of both stores that hold something
// which is still needed; math.MaxUint64 if none does.
func (x *Index) OldestMessages() (oldest, carried uint64) {
	oldest, carried = math.MaxUint64, math.MaxUint64
	if k := x.Keys.Oldest(); k != nil {
		oldest = k.Message
	}
	for it := range x.Order.After(0) {
		switch {
		case !it.Live():
		case it.Value.Message&CarriedBit == 0:
			return min(oldest, it.Value.Message), carried
		default:
			carried = min(carried, it.Value.Message&^CarriedBit)
		}
	}
	return oldest, carried
}
