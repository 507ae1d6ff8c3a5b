package topic

import (
	"cmp"
	"slices"
	"sort"
)

// What the log does not keep, only the tail has. So a subscriber that was not ready
// for an event of an ephemeral topic is given it by a catch-up that looks into both.

// passing reports whether it is an event of an ephemeral topic.
func (e ruled) passing() bool { return e.rule.Ephemeral() && !e.IsEnd() }

// passed returns the events of ephemeral topics that the tail still has, after one
// id and up to another.
func (t *tail) passed(after uint64, to ID) (events []ruled) {
	var turn []ruled
	for next := t.find(after, to.Epoch); ; next += uint64(len(turn)) {
		var ok bool
		if turn, ok = t.take(next, turn[:0]); !ok {
			next = t.find(after, to.Epoch) // it has moved on
			continue
		}
		if len(turn) == 0 {
			return events
		}
		for _, e := range turn {
			if after = e.ID.Seq; after > to.Seq {
				return events
			}
			if e.passing() {
				events = append(events, e)
			}
		}
	}
}

// find returns the position of the first entry after an id; the next one if there
// is no event of an ephemeral topic after it.
func (t *tail) find(after, epoch uint64) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ephemeral.Seq <= after || t.ephemeral.Epoch != epoch {
		return t.next
	}
	n := sort.Search(int(t.next-t.first), func(i int) bool {
		return t.ring[(t.first+uint64(i))%tailEntries].ID.Seq > after
	})
	return t.first + uint64(n)
}

// cutToTail has a page end where the tail does, and reports whether that is
// earlier: what comes after is going to be visited, and some of it may be in no log.
func (c *catchUp) cutToTail(page *Page) bool {
	hub := c.sub.shard.hub
	if !hub.rules.ephemeral() {
		return false
	}
	_, end := hub.tail.position()
	if page.Cursor.Epoch != end.Epoch || page.Cursor.Seq <= end.Seq {
		return false
	}
	page.Cursor.ID, page.More = end, false
	i := slices.IndexFunc(page.Entries, func(e *Entry) bool { return e.ID.Seq > end.Seq })
	if i >= 0 {
		page.Entries = page.Entries[:i]
	}
	return true
}

// withPassed adds to the entries of a page, which ends at an id, what was in no
// log: the newest, within limits as a page has.
func (c *catchUp) withPassed(entries []ruled, to ID) []ruled {
	hub := c.sub.shard.hub
	if !hub.rules.ephemeral() {
		return entries
	}
	after := to.Seq
	for i := range c.interests {
		after = min(after, c.interests[i].After.Seq)
	}
	n, bytes := 0, 0
	for _, e := range slices.Backward(hub.tail.passed(after, to)) {
		if !c.wanted(e) {
			continue
		}
		if bytes += len(e.Data); n == catchUpEvents || n > 0 && bytes > catchUpBytes {
			break
		}
		entries = append(entries, e)
		n++
	}
	if n > 0 {
		slices.SortFunc(entries, func(a, b ruled) int { return cmp.Compare(a.ID.Seq, b.ID.Seq) })
	}
	return entries
}

// wanted reports whether an interest is to be given an event of an ephemeral topic:
// not what came before it was there, nor what lies before a gap.
func (c *catchUp) wanted(e ruled) bool {
	for i, sn := range c.subscriptions {
		if c.wants(i, e) && (e.ID.Seq > sn.began.Seq || e.ID.Epoch != sn.began.Epoch) {
			return true
		}
	}
	return false
}
