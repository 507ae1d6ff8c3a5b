package topic

import "sync"

// Stats count what a hub has done since it was made, and say how it is now.
type Stats struct {
	Published uint64 // entries that the log took, also the ends of topics
	Delivered uint64 // events that were given to subscribers
	Batches   uint64 // in so many calls of sinks, also those with signals only
	Bytes     uint64 // of events, in the forms of their subscribers
	Gaps      uint64 // that subscribers were told of
	Conflated uint64 // events that were not given because later ones supersede them
	Dropped   uint64 // events that were not given because the subscriber was slow
	TooSlow   uint64 // subscribers that were ended by ErrTooSlow

	Subscribers int
	Lagging     int // of them: who lack something that came while they were not ready for it
}

func (s *Stats) add(o *Stats) {
	s.Published += o.Published
	s.Delivered += o.Delivered
	s.Batches += o.Batches
	s.Bytes += o.Bytes
	s.Gaps += o.Gaps
	s.Conflated += o.Conflated
	s.Dropped += o.Dropped
	s.TooSlow += o.TooSlow
	s.Subscribers += o.Subscribers
	s.Lagging += o.Lagging
}

// gave counts a list that was given to a subscriber.
func (s *Stats) gave(l *list) {
	s.Batches++
	s.Delivered += l.events
	s.Bytes += l.bytes
}

// shownStats are a shard's counts as others may read them. No other data that
// changes is on their cache lines.
type shownStats struct {
	_     [64]byte
	mu    sync.Mutex
	stats Stats // guarded by mu
	_     [64]byte
}

// show lets others read the counts.
func (s *shard) show() {
	s.counts.Subscribers, s.counts.Lagging = len(s.members), len(s.late.subs)
	s.shown.mu.Lock()
	s.shown.stats = s.counts
	s.shown.mu.Unlock()
}

// Stats returns the sum of what all shards have done. It is exact once nothing
// goes on.
func (h *Hub) Stats() Stats {
	sum := Stats{Published: h.published.Load()}
	for _, s := range h.shards {
		s.shown.mu.Lock()
		sum.add(&s.shown.stats)
		s.shown.mu.Unlock()
	}
	return sum
}
