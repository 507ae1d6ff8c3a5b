package memlog

import (
	"context"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// losing is a search for losses, by a reader that was given everything up to
// seq and told of the losses up to told.
type losing struct {
	patterns  []topic.Pattern
	wild      bool // not all of the patterns are literal
	seq, told uint64
	// The losses from top on the clock down to bottom were looked at.
	top, bottom uint64
}

// misses reports whether the reader misses a lost entry. That is not known if
// the search, which may look at most items, does not get to its end: call
// again.
func (l *Log) misses(x *losing, most *int) (misses, known bool) {
	if l.newestLost <= x.seq {
		return false, true
	}
	for _, p := range x.patterns {
		if !p.Literal() {
			continue
		}
		lost := l.policyOf(p.String()).Forgotten
		if t := l.topics[p.String()]; t != nil {
			lost = l.lossOf(t)
		}
		if lost.Hits(x.seq, x.told) {
			return true, true
		}
	}
	if !x.wild {
		return false, true
	}
	for _, p := range l.policies {
		if p.Forgotten.Hits(x.seq, x.told) && p.MayHave(x.patterns) {
			return true, true
		}
	}
	// A loss is never earlier on the clock than its entry in the sequence, so
	// nothing that was lost before told or seq matters.
	floor := max(x.seq, x.told)
	if x.top == 0 {
		x.top, x.bottom = l.clock, l.clock+1
	}
	newer := max(x.top, floor)
	hit, reached := l.lossBetween(x, l.clock, newer, most)
	if hit || reached > newer {
		x.top = 0 // more was lost meanwhile than can be looked at
		return hit, hit
	}
	x.top = l.clock
	hit, x.bottom = l.lossBetween(x, x.bottom-1, floor, most)
	return hit, hit || x.bottom <= floor
}

// lossBetween looks for a loss that the reader misses, from one time on the
// clock back to another, which it does not look at. It returns how far it came.
func (l *Log) lossBetween(x *losing, from, to uint64, most *int) (hit bool, reached uint64) {
	for it := range l.losses.Before(from + 1) {
		if it.Seq <= to {
			break
		}
		if it.Live() && keep.Matches(x.patterns, it.Value.name) && l.lossOf(it.Value).Hits(x.seq, x.told) {
			return true, it.Seq
		}
		if *most--; *most <= 0 {
			return false, it.Seq
		}
	}
	return false, min(from, to)
}

// mayMiss is misses in one step: what takes too long may be a loss.
func (l *Log) mayMiss(patterns []topic.Pattern, seq uint64) bool {
	most := keep.SearchItems
	misses, known := l.misses(&losing{patterns: patterns, wild: keep.Wild(patterns), seq: seq}, &most)
	return misses || !known
}

// before returns the cursor just before the first retained entry of the
// patterns; of the end of the log if that is the zero ID. It has been told of
// all losses, which matters if an event that lies after it was lost.
func (l *Log) before(first topic.ID, patterns []topic.Pattern) topic.Cursor {
	if first == (topic.ID{}) {
		return topic.Cursor{ID: l.id(l.end)}
	}
	c := topic.Cursor{ID: l.id(first.Seq - 1)}
	if l.mayMiss(patterns, c.Seq) {
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
			if i := t.after(r.from); i < t.Len() && (seq == 0 || t.Seq(i) < seq) {
				seq = t.Seq(i)
			}
		}
		if seq == 0 {
			return topic.ID{}, true
		}
		return l.id(seq), true
	}
	for it := range l.order.After(r.searched) {
		if it.Live() && keep.Matches(r.patterns, it.Value.name) {
			return l.id(it.Seq), true
		}
		r.searched = it.Seq
		if *most--; *most <= 0 {
			return topic.ID{}, false
		}
	}
	return topic.ID{}, true
}

// Earliest returns the cursor that all that is left of the patterns lies after.
func (l *Log) Earliest(ctx context.Context, patterns []topic.Pattern) (topic.Cursor, error) {
	r := reading{patterns: patterns, wild: keep.Wild(patterns)}
	for {
		if err := l.rlock(); err != nil {
			return topic.Cursor{}, err
		}
		most := keep.SearchItems
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
