package topic

import "sync"

const (
	tailEntries = 4096     // a power of two
	tailBytes   = 16 << 20 // of data
	turnEntries = 64       // a shard's turn: one bit each in Subscriber.staged
	turnBytes   = 256 << 10
)

// A ruled entry knows the rule of its topic.
type ruled struct {
	*Entry
	rule *Rule
}

// tail is the newest part of the log in memory: where shards take the live
// entries from, and how long the encodings of an entry are kept. A shard that
// falls behind it serves its subscribers from the log.
type tail struct {
	rules *Rules

	mu          sync.Mutex
	observer    func([]*Entry)     // or nil
	ring        [tailEntries]ruled // position p is at ring[p%tailEntries]
	first, next uint64             // positions held: first <= p < next
	bytes       int
	end         ID // of the log, as far as it was pushed
	ephemeral   ID // the newest event that the log does not keep; zero if it is not known
}

func (t *tail) push(entries []*Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.observer != nil {
		t.observer(entries)
	}
	var rule *Rule
	for i, e := range entries {
		for t.next-t.first == tailEntries || t.next > t.first && t.bytes+len(e.Data) > tailBytes {
			slot := &t.ring[t.first%tailEntries]
			t.bytes -= len(slot.Data)
			slot.seal()
			*slot = ruled{}
			t.first++
		}
		if rule == nil || e.Topic != entries[i-1].Topic {
			rule = t.rules.Of(e.Topic)
		}
		t.ring[t.next%tailEntries] = ruled{e, rule}
		t.next++
		t.bytes += len(e.Data)
		t.end = e.ID
		if rule.Ephemeral() && !e.IsEnd() {
			t.ephemeral = e.ID
		}
	}
}

// reset forgets everything, and has every shard see that it has fallen behind.
func (t *tail) reset(end ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; t.first < t.next; t.first++ {
		slot := &t.ring[t.first%tailEntries]
		slot.seal()
		*slot = ruled{}
	}
	t.next++ // a position where nothing is
	t.first, t.bytes, t.end, t.ephemeral = t.next, 0, end, ID{}
	if t.observer != nil {
		t.observer(nil)
	}
}

// position returns where a shard that has visited everything stands.
func (t *tail) position() (next uint64, end ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next, t.end
}

// full reports whether there is a whole turn, or more, from position next on.
func (t *tail) full(next uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if next < t.first || t.next-next >= turnEntries {
		return true
	}
	bytes := 0
	for ; next < t.next; next++ {
		bytes += len(t.ring[next%tailEntries].Data)
	}
	return bytes > turnBytes
}

// take appends the entries from position next on to those of a turn, as far as
// it has room for them. It reports false if the tail no longer reaches back to
// next.
func (t *tail) take(next uint64, turn []ruled) ([]ruled, bool) {
	bytes := 0
	for _, e := range turn {
		bytes += len(e.Data)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if next < t.first {
		return turn, false
	}
	for ; next < t.next && len(turn) < turnEntries; next++ {
		e := t.ring[next%tailEntries]
		if bytes += len(e.Data); bytes > turnBytes && len(turn) > 0 {
			break
		}
		turn = append(turn, e)
	}
	return turn, true
}
