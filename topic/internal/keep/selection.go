package keep

import (
	"cmp"
	"math"
	"slices"

	"github.com/duplexhq/duplex/topic"
)

// Wild reports whether not all of the patterns are literal.
func Wild(patterns []topic.Pattern) bool {
	for _, p := range patterns {
		if !p.Literal() {
			return true
		}
	}
	return false
}

// A Selection says of each entry in the order of a log whether one of several
// interests is in it. T names a topic, and does so while the lock is held. There may
// be many patterns, long to compare with: that is done once for each topic.
type Selection[T comparable] struct {
	// Work is to be compared with SearchItems: one for each pattern that Has has
	// compared, and for each entry that its caller has looked at.
	Work int

	wilds    []wildFrom // in the order of from, once there is the comparison
	compare  *comparison
	literals map[T]uint64 // from where
	selected map[T]uint64 // the topics that were asked for; from where, or nowhere
}

type wildFrom struct {
	pattern topic.Pattern
	from    uint64
}

const nowhere = math.MaxUint64

// AddTopic selects the entries of a topic after a number.
func (s *Selection[T]) AddTopic(t T, from uint64) {
	if s.literals == nil {
		s.literals = make(map[T]uint64)
	}
	if other, ok := s.literals[t]; !ok || from < other {
		s.literals[t] = from
	}
}

// AddPattern selects the entries of the topics of a pattern after a number.
func (s *Selection[T]) AddPattern(p topic.Pattern, from uint64) {
	s.wilds = append(s.wilds, wildFrom{p, from})
}

// AddPatterns selects all entries of the topics of patterns.
func (s *Selection[T]) AddPatterns(patterns []topic.Pattern) {
	for _, p := range patterns {
		s.AddPattern(p, 0)
	}
}

// Has reports whether an entry of a topic is selected.
func (s *Selection[T]) Has(t T, name string, seq uint64) bool {
	if len(s.wilds) == 1 && len(s.literals) == 0 { // there is little to remember
		return seq > s.wilds[0].from && s.wilds[0].pattern.Match(name)
	}
	from, ok := s.selected[t]
	if !ok {
		if from, ok = s.literals[t]; !ok {
			from = nowhere
		}
		if s.compare == nil {
			s.prepare()
		}
		i, work := s.compare.first(name)
		if i >= 0 {
			from = min(from, s.wilds[i].from)
		}
		s.selected[t] = from
		s.Work += work
	}
	return seq > from
}

// prepare is for the first comparison: the first pattern that matches is then the
// one that decides.
func (s *Selection[T]) prepare() {
	slices.SortFunc(s.wilds, func(a, b wildFrom) int { return cmp.Compare(a.from, b.from) })
	s.selected = make(map[T]uint64)
	s.compare = &comparison{patterns: make([]topic.Pattern, len(s.wilds))}
	for i, w := range s.wilds {
		s.compare.patterns[i] = w.pattern
	}
}
