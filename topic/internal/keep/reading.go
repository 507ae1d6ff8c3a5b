package keep

import "github.com/duplexhq/duplex/topic"

// A Reading is an interest while it is read.
type Reading struct {
	Patterns []topic.Pattern
	Wild     bool   // not all of the patterns are literal
	Known    bool   // the cursor is of this log
	From     uint64 // what is selected lies after it
	Losing   LossSearch
	Searched uint64 // up to here nothing that is selected is left; not kept without a gap
}

// NewReading begins to read an interest, whose cursor is of this log or not.
func NewReading(in topic.Interest, known bool) Reading {
	r := Reading{Patterns: in.Patterns, Wild: Wild(in.Patterns), Known: known}
	if known {
		r.From, r.Searched = in.After.Seq, in.After.Seq
		r.Losing = SearchFor(in.Patterns, in.After.Seq, in.After.Told)
	}
	return r
}

// AnyWild reports whether not all of what is read is literal.
func AnyWild(readings []Reading) bool {
	for i := range readings {
		if readings[i].Wild {
			return true
		}
	}
	return false
}

// Select returns what the readings select, and where in the order of a log up to
// end that begins. find finds a known topic.
func Select[T comparable](readings []Reading, end uint64, find func(name string) (t T, known bool)) (s Selection[T], from uint64) {
	from = readings[0].From
	for i := range readings {
		r := &readings[i]
		if from = min(from, r.From); r.From >= end {
			continue // nothing is after it
		}
		for _, p := range r.Patterns {
			if !p.Literal() {
				s.AddPattern(p, r.From)
			} else if t, known := find(p.String()); known {
				s.AddTopic(t, r.From)
			}
		}
	}
	return s, from
}
