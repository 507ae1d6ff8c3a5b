package topic

import (
	"math/bits"
	"strings"
)

// A Matcher finds out which of many patterns match a topic. It looks at all of
// them at once, a segment after the other: there may be thousands, made to take
// long to compare with. One goroutine may use it at a time.
type Matcher struct {
	levels []level // by how many segments are in front
	all    set
	here   set // those that match what was looked at
	next   set
	found  set
}

// level is what the patterns say of a segment.
type level struct {
	literals map[string]*chosen
	wild     set // have "*"
	tail     set // have "**"
	last     set // end there, otherwise
}

// A set is of patterns, by their indexes: a bit for each.
type set []uint64

func (s set) add(pattern int) { s[pattern/64] |= 1 << (pattern % 64) }

func (s set) has(pattern int) bool { return s[pattern/64]&(1<<(pattern%64)) != 0 }

// chosen are the patterns that have one literal segment: a list as long as that
// takes no more than a set.
type chosen struct {
	few  []int32
	many set // or nil
}

// NewMatcher returns a matcher of the patterns.
func NewMatcher(patterns []Pattern) *Matcher {
	words := (len(patterns) + 63) / 64
	m := &Matcher{all: make(set, words), here: make(set, words), next: make(set, words), found: make(set, words)}
	for i, p := range patterns {
		m.add(p, i)
	}
	return m
}

func (m *Matcher) add(p Pattern, index int) {
	m.all.add(index)
	depth := 0
	for segment := range p.Segments() {
		if depth == len(m.levels) {
			m.levels = append(m.levels, level{
				literals: make(map[string]*chosen),
				wild:     make(set, len(m.all)), tail: make(set, len(m.all)), last: make(set, len(m.all)),
			})
		}
		l := &m.levels[depth]
		switch segment {
		case wildTail:
			l.tail.add(index)
			return
		case wildSegment:
			l.wild.add(index)
		default:
			c := l.literals[segment]
			if c == nil {
				c = new(chosen)
				l.literals[segment] = c
			}
			c.add(index, len(m.all))
		}
		depth++
	}
	m.levels[depth-1].last.add(index)
}

func (c *chosen) add(index, words int) {
	switch {
	case c.many != nil:
		c.many.add(index)
	case len(c.few) < 2*words:
		c.few = append(c.few, int32(index))
	default:
		c.many = make(set, words)
		c.many.add(index)
		for _, i := range c.few {
			c.many.add(int(i))
		}
		c.few = nil
	}
}

// First returns the index of the first of the patterns that matches a topic,
// which must be a name; -1 if none does.
func (m *Matcher) First(topic string) int {
	copy(m.here, m.all)
	clear(m.found)
	system := -1 // where the last segment of the system begins
	if i := strings.LastIndex(topic, "/$"); i >= 0 {
		system = i + 1
	} else if isSystem(topic) {
		system = 0
	}
	at := 0
	for i := range m.levels {
		l := &m.levels[i]
		if at > system {
			m.found.addBoth(m.here, l.tail)
		}
		segment, _, more := strings.Cut(topic[at:], "/")
		if !m.step(l, segment) {
			break
		}
		if !more {
			m.found.addBoth(m.here, l.last)
			break
		}
		at += len(segment) + 1
	}
	for i, word := range m.found {
		if word != 0 {
			return i*64 + bits.TrailingZeros64(word)
		}
	}
	return -1
}

// step leaves here only the patterns that match one segment more, and reports
// whether there are any.
func (m *Matcher) step(l *level, segment string) bool {
	clear(m.next)
	if !isSystem(segment) {
		m.next.addBoth(m.here, l.wild)
	}
	if c := l.literals[segment]; c != nil {
		if c.many != nil {
			m.next.addBoth(m.here, c.many)
		}
		for _, i := range c.few {
			if m.here.has(int(i)) {
				m.next.add(int(i))
			}
		}
	}
	m.here, m.next = m.next, m.here
	for _, word := range m.here {
		if word != 0 {
			return true
		}
	}
	return false
}

// addBoth adds what is in both of two sets.
func (s set) addBoth(a, b set) {
	for i := range s {
		s[i] |= a[i] & b[i]
	}
}
