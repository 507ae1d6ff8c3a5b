package keep

import "github.com/duplexhq/duplex/topic"

// A LossSearch is a search for losses that a reader misses who was given everything
// up to Seq, and told of the losses up to Told. It may go in steps, between which
// more is lost.
type LossSearch struct {
	Patterns  []topic.Pattern
	Wild      bool // not all of the patterns are literal
	Seq, Told uint64

	compare     comparison
	missed      bool // for good
	begun       bool
	top, bottom uint64 // the losses from top down to bottom in the list were looked at
}

// SearchFor begins a search.
func SearchFor(patterns []topic.Pattern, seq, told uint64) LossSearch {
	return LossSearch{Patterns: patterns, Wild: Wild(patterns), Seq: seq, Told: told, compare: comparison{patterns: patterns}}
}

// Begun reports whether there was a step.
func (s *LossSearch) Begun() bool { return s.begun }

// SearchLosses goes on with the search in a list of the topics that have lost
// something, by when they last have, up to the newest of them; of gives the name and
// the last loss of one. It looks at most items, and reports whether the reader misses
// something, if that is known by then.
func SearchLosses[T comparable](s *LossSearch, list *Order[T], newest uint64, of func(T) (name string, last Loss), most *int) (missed, known bool) {
	if s.missed {
		return true, true
	}
	if !s.begun {
		s.begun, s.top, s.bottom = true, newest, newest+1
	}
	// A loss is never earlier on the clock than its entry in the sequence, so
	// nothing that was lost before Told or Seq matters.
	floor := max(s.Seq, s.Told)
	// between looks from one item back to another, which it does not look at. It
	// returns how far it came.
	between := func(from, to uint64) (reached uint64) {
		for it := range list.Before(from + 1) {
			if it.Seq <= to {
				break
			}
			if *most--; it.Live() {
				name, last := of(it.Value)
				if last.At <= floor {
					break
				}
				if last.Hits(s.Seq, s.Told) {
					first, work := s.compare.first(name)
					if s.missed = first >= 0; s.missed {
						return it.Seq
					}
					*most -= work
				}
			}
			if *most <= 0 {
				return it.Seq
			}
		}
		return min(from, to)
	}
	if reached := between(newest, s.top); !s.missed && reached > s.top {
		s.begun = false // more was lost meanwhile than can be looked at
		return false, false
	}
	if s.top = newest; !s.missed && s.bottom > 0 {
		s.bottom = between(s.bottom-1, 0)
	}
	return s.missed, s.missed || s.bottom == 0
}
