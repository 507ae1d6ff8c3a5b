package index

import (
	"strings"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// Misses reports whether the reader misses a lost entry. That is not known if
// the search, which may look at most items, does not get to its end: call
// again.
func (x *Index) Misses(s *keep.LossSearch, most *int) (missed, known bool) {
	if x.newestLost <= s.Seq {
		return false, true
	}
	for _, p := range s.Patterns {
		if !p.Literal() {
			continue
		}
		if t := x.topics[p.String()]; t != nil {
			if t.lost().Hits(s.Seq, s.Told) {
				return true, true
			}
		} else if x.PolicyOf(p.String()).Forgotten.Hits(s.Seq, s.Told) {
			return true, true
		}
	}
	if !s.Wild {
		return false, true
	}
	for _, policy := range x.policies {
		if policy.Forgotten.Hits(s.Seq, s.Told) && policy.MayHave(s.Patterns) {
			return true, true
		}
	}
	if !s.Begun() {
		if missed, known := x.missesBelow(s); known {
			return missed, true
		}
	}
	return keep.SearchLosses(s, &x.losses, x.lost, func(t *Topic) (string, keep.Loss) { return t.name, t.lost() }, most)
}

// missesBelow is misses for the known topics of patterns with wildcards. It looks at
// those below the first segments of each; if there are many, it does not know.
func (x *Index) missesBelow(s *keep.LossSearch) (missed, known bool) {
	looked := 0
	for _, p := range s.Patterns {
		if p.Literal() {
			continue
		}
		prefix, _, _ := strings.Cut("/"+p.String(), "/*")
		prefix = (prefix + "/")[1:]
		for t := range x.Names.After(prefix) {
			if !strings.HasPrefix(t.name, prefix) {
				break
			}
			if t.lost().Hits(s.Seq, s.Told) && p.Match(t.name) {
				return true, true
			}
			if looked++; looked == keep.GlanceItems {
				return false, false
			}
		}
	}
	return false, true
}

// MayMiss is misses in one step: what takes too long may be a loss.
func (x *Index) MayMiss(patterns []topic.Pattern, seq uint64) bool {
	search, most := keep.SearchFor(patterns, seq, 0), keep.GlanceItems
	missed, known := x.Misses(&search, &most)
	return missed || !known
}

// Before returns the position just before the first retained entry of the
// patterns; the end of the log if that is 0. It has been told of all losses,
// which matters if an entry that lies after it was lost.
func (x *Index) Before(first uint64, patterns []topic.Pattern) (seq, told uint64) {
	if first == 0 {
		return x.End, 0
	}
	if x.MayMiss(patterns, first-1) {
		told = x.Clock
	}
	return first - 1, told
}

// First returns the first retained entry that the reading selects; 0 if there
// is none. It is not found if the search, which may look at most items in the
// order of the log, does not get there: call again.
func (x *Index) First(r *keep.Reading, most *int) (seq uint64, found bool) {
	if !r.Wild {
		for _, p := range r.Patterns {
			t := x.topics[p.String()]
			if t == nil {
				continue
			}
			if i := t.After(r.From); i < len(t.seqs) && (seq == 0 || t.seqs[i] < seq) {
				seq = t.seqs[i]
			}
		}
		return seq, true
	}
	var selection keep.Selection[*Topic]
	selection.AddPatterns(r.Patterns)
	for it := range x.Order.After(r.Searched) {
		if selection.Work++; it.Live() {
			if t := x.TopicOf(it); selection.Has(t, t.name, it.Seq) {
				*most -= selection.Work
				return it.Seq, true
			}
		}
		if r.Searched = it.Seq; selection.Work >= *most {
			*most = 0
			return 0, false
		}
	}
	*most -= selection.Work
	return 0, true
}
