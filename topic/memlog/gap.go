package memlog

import (
	"context"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// misses reports whether the reader misses a lost entry. That is not known if
// the search, which may look at most items, does not get to its end: call
// again.
func (l *Log) misses(x *keep.LossSearch, most *int) (misses, known bool) {
	if l.newestLost <= x.Seq {
		return false, true
	}
	for _, p := range x.Patterns {
		if !p.Literal() {
			continue
		}
		lost := l.policyOf(p.String()).Forgotten
		if t := l.topics[p.String()]; t != nil {
			lost = l.lossOf(t)
		}
		if lost.Hits(x.Seq, x.Told) {
			return true, true
		}
	}
	if !x.Wild {
		return false, true
	}
	for _, p := range l.policies {
		if p.Forgotten.Hits(x.Seq, x.Told) && p.MayHave(x.Patterns) {
			return true, true
		}
	}
	return keep.SearchLosses(x, &l.losses, l.clock, func(t *topicLog) (string, keep.Loss) { return t.name, l.lossOf(t) }, most)
}

// mayMiss is misses in one step: what takes too long may be a loss.
func (l *Log) mayMiss(patterns []topic.Pattern, seq uint64) bool {
	search, most := keep.SearchFor(patterns, seq, 0), keep.GlanceItems
	misses, known := l.misses(&search, &most)
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
func (l *Log) first(r *keep.Reading, most *int) (id topic.ID, found bool) {
	if !r.Wild {
		seq := uint64(0)
		for _, p := range r.Patterns {
			t := l.topics[p.String()]
			if t == nil {
				continue
			}
			if i := t.after(r.From); i < t.Len() && (seq == 0 || t.Seq(i) < seq) {
				seq = t.Seq(i)
			}
		}
		if seq == 0 {
			return topic.ID{}, true
		}
		return l.id(seq), true
	}
	var selection keep.Selection[*topicLog]
	selection.AddPatterns(r.Patterns)
	for it := range l.order.After(r.Searched) {
		if selection.Work++; it.Live() && selection.Has(it.Value, it.Value.name, it.Seq) {
			*most -= selection.Work
			return l.id(it.Seq), true
		}
		if r.Searched = it.Seq; selection.Work >= *most {
			*most = 0
			return topic.ID{}, false
		}
	}
	*most -= selection.Work
	return topic.ID{}, true
}

// Earliest returns the cursor that all that is left of the patterns lies after.
func (l *Log) Earliest(ctx context.Context, patterns []topic.Pattern) (topic.Cursor, error) {
	r := keep.NewReading(topic.Interest{Patterns: patterns}, false)
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
