package topic

import "time"

const (
	// minStretch is how long a shard works before it lets others run.
	minStretch = 500 * time.Microsecond
	// yieldEvery is how many subscribers are served before it looks at the time.
	yieldEvery = 16
)

// beginYields is called when a turn begins.
func (s *shard) beginYields() { s.yielded, s.stretch = time.Now(), minStretch }

// yield lets others run, such as publishers, if the shard has worked for long,
// and lets what they have published join the turn. It reports whether it did.
// If a turn's worth waits already, publishers have to wait, too: or more and more
// would.
func (s *shard) yield() bool {
	began := time.Now()
	if began.Sub(s.yielded) < s.stretch || s.hub.tail.full(s.next) {
		return false
	}
	s.hub.yield()
	s.yielded = time.Now()
	s.stretch = max(minStretch, s.yielded.Sub(began)) // half of the time is its own
	if s.open {
		s.take() // what the tail has lost meanwhile is noticed by visit
	}
	return true
}
