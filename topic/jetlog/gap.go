package jetlog

import (
	"context"
	"strings"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// misses reports whether a reader of the patterns that was given everything up
// to seq, and told of the losses up to told, misses a lost entry.
func (x *index) misses(patterns []topic.Pattern, seq, told uint64) bool {
	if x.newestLost <= seq {
		return false
	}
	wild := false
	for _, p := range patterns {
		if !p.Literal() {
			wild = true
			continue
		}
		if t := x.topics[p.String()]; t != nil {
			if t.lost().Hits(seq, told) {
				return true
			}
		} else if x.policyOf(p.String()).Forgotten.Hits(seq, told) {
			return true
		}
	}
	if !wild {
		return false
	}
	for _, policy := range x.policies {
		if policy.Forgotten.Hits(seq, told) && policy.MayHave(patterns) {
			return true
		}
	}
	var broad []topic.Pattern
	for _, p := range patterns {
		if p.Literal() {
			continue
		}
		misses, known := x.missesBelow(p, seq, told)
		if misses {
			return true
		}
		if !known {
			broad = append(broad, p)
		}
	}
	return len(broad) > 0 && x.missesAny(broad, seq, told)
}

// missesBelow is misses for the known topics of a pattern. It looks at those
// below the pattern's first segments; if there are many, it does not know.
func (x *index) missesBelow(p topic.Pattern, seq, told uint64) (misses, known bool) {
	prefix, _, _ := strings.Cut("/"+p.String(), "/*")
	prefix = (prefix + "/")[1:]
	looked := 0
	for t := range x.names.After(prefix) {
		if !strings.HasPrefix(t.name, prefix) {
			break
		}
		if t.lost().Hits(seq, told) && p.Match(t.name) {
			return true, true
		}
		if looked++; looked == gapTopics {
			return false, false
		}
	}
	return false, true
}

// gapTopics is how many topics are looked at by name, before all losses are.
const gapTopics = 1024

// missesAny looks at all losses since then.
func (x *index) missesAny(patterns []topic.Pattern, seq, told uint64) bool {
	// A loss is never earlier on the clock than its entry in the sequence, so
	// nothing that was lost before told or seq matters.
	for n := x.losses.next; n != &x.losses && n.At > max(seq, told); n = n.next {
		if n.Hits(seq, told) && keep.Matches(patterns, n.topic.name) {
			return true
		}
	}
	return false
}

// before returns the position just before the first retained entry of the
// patterns; the end of the log if that is 0. It has been told of all losses,
// which matters if an entry that lies after it was lost.
func (x *index) before(first uint64, patterns []topic.Pattern) (seq, told uint64) {
	if first == 0 {
		return x.end, 0
	}
	if x.misses(patterns, first-1, 0) {
		told = x.clock
	}
	return first - 1, told
}

// first returns the first retained entry that the reading selects; 0 if there
// is none. It is not found if the search, which may look at most items in the
// order of the log, does not get there: call again.
func (x *index) first(r *reading, most *int) (seq uint64, found bool) {
	if !r.wild {
		for _, p := range r.patterns {
			t := x.topics[p.String()]
			if t == nil {
				continue
			}
			if i := t.after(r.from); i < len(t.seqs) && (seq == 0 || t.seqs[i] < seq) {
				seq = t.seqs[i]
			}
		}
		return seq, true
	}
	for it := range x.order.After(r.searched) {
		if it.Live() && keep.Matches(r.patterns, x.numbered[it.Value.topic-1].name) {
			return it.Seq, true
		}
		r.searched = it.Seq
		if *most--; *most <= 0 {
			return 0, false
		}
	}
	return 0, true
}

// Earliest returns the cursor that all that is left of the patterns lies after.
func (l *Log) Earliest(ctx context.Context, patterns []topic.Pattern) (topic.Cursor, error) {
	r := reading{patterns: patterns, wild: keep.Wild(patterns)}
	for {
		if err := l.rlock(); err != nil {
			return topic.Cursor{}, err
		}
		most := keep.SearchItems
		first, found := l.index.first(&r, &most)
		seq, told := l.index.before(first, patterns)
		c := topic.Cursor{ID: l.id(seq), Told: told}
		l.mu.RUnlock()
		if found {
			return c, nil
		}
		if ctx.Err() != nil {
			return topic.Cursor{}, context.Cause(ctx)
		}
	}
}
