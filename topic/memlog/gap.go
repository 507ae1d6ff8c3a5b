package memlog

import (
	"context"

	"github.com/duplexhq/duplex/topic"
)

// misses reports whether a reader of the patterns that was given everything up
// to seq, and told of the losses up to told, misses a lost event.
func (l *Log) misses(patterns []topic.Pattern, seq, told uint64) bool {
	if l.newestLost <= seq {
		return false
	}
	for _, p := range patterns {
		if !p.Literal() {
			continue
		}
		lost := l.forgotten
		if t := l.topics[p.String()]; t != nil {
			lost = t.lost
		}
		if lost.hits(seq, told) {
			return true
		}
	}
	if !wild(patterns) {
		return false
	}
	if l.forgotten.hits(seq, told) {
		return true
	}
	// A loss is never earlier on the clock than its event in the sequence, so
	// nothing that was lost before told or seq matters.
	for t := l.losses.next; t != &l.losses && t.lost.at > max(seq, told); t = t.next {
		if t.lost.hits(seq, told) && matches(patterns, t.name) {
			return true
		}
	}
	return false
}

// before returns the cursor just before the first retained entry of the
// patterns; of the end of the log if that is the zero ID. It has been told of
// all losses, which matters if an event that lies after it was lost.
func (l *Log) before(first topic.ID, patterns []topic.Pattern) topic.Cursor {
	if first == (topic.ID{}) {
		return topic.Cursor{ID: l.id(l.end)}
	}
	c := topic.Cursor{ID: l.id(first.Seq - 1)}
	if l.misses(patterns, c.Seq, 0) {
		c.Told = l.clock
	}
	return c
}

// first returns the first retained entry that the reading selects; the zero ID
// if there is none. It is not found if the search, which may look at most items
// in the order of the log, does not get there: call again.
func (l *Log) first(r *reading, most *int) (id topic.ID, found bool) {
	if !r.wild {
		seq := uint64(0)
		for _, p := range r.patterns {
			t := l.topics[p.String()]
			if t == nil {
				continue
			}
			if i := t.after(r.from); i < t.count && (seq == 0 || t.at(i).ID.Seq < seq) {
				seq = t.at(i).ID.Seq
			}
		}
		if seq == 0 {
			return topic.ID{}, true
		}
		return l.id(seq), true
	}
	for it := range l.order.after(r.searched) {
		if it.live() && matches(r.patterns, it.topic.name) {
			return l.id(it.seq), true
		}
		r.searched = it.seq
		if *most--; *most <= 0 {
			return topic.ID{}, false
		}
	}
	return topic.ID{}, true
}

// Earliest returns the cursor that all that is left of the patterns lies after.
func (l *Log) Earliest(ctx context.Context, patterns []topic.Pattern) (topic.Cursor, error) {
	r := reading{patterns: patterns, wild: wild(patterns)}
	for {
		if err := l.rlock(); err != nil {
			return topic.Cursor{}, err
		}
		most := searchItems
		first, found := l.first(&r, &most)
		c := l.before(first, patterns)
		l.mu.RUnlock()
		if found {
			return c, nil
		}
		if ctx.Err() != nil {
			return topic.Cursor{}, context.Cause(ctx)
		}
	}
}
