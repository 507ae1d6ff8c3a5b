package keep

import "github.com/duplexhq/duplex/topic"

// Matches reports whether one of the patterns matches a name.
func Matches(patterns []topic.Pattern, name string) bool {
	for _, p := range patterns {
		if p.Match(name) {
			return true
		}
	}
	return false
}

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
// interests is in it. T names a topic.
type Selection[T comparable] struct {
	wilds    []wildFrom
	literals map[T]uint64 // from where
}

type wildFrom struct {
	pattern topic.Pattern
	from    uint64
}

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

// Has reports whether an entry of a topic is selected.
func (s Selection[T]) Has(t T, name string, seq uint64) bool {
	if len(s.literals) > 0 {
		if from, ok := s.literals[t]; ok && seq > from {
			return true
		}
	}
	for _, w := range s.wilds {
		if seq > w.from && w.pattern.Match(name) {
			return true
		}
	}
	return false
}
