package topic

// give gives a batch without events.
func (s *shard) give(sub *Subscriber, b Batch) {
	s.counts.Batches++
	b.Later = s.later
	done, over := deliver(sub.sink, b)
	s.given(sub, done, over)
}

// giveList gives a list, and ends the subscriber if there is an end.
func (s *shard) giveList(sub *Subscriber, l *list, end error) {
	s.counts.gave(l)
	b := l.batch(&sub.opts, end)
	b.Later = s.later
	done, over := deliver(sub.sink, b)
	s.given(sub, done, over)
}

// given is called when a subscriber has been given everything up to the shard's
// position.
func (s *shard) given(sub *Subscriber, done, over bool) {
	switch {
	case over:
		s.over(sub)
	case !done: // and what comes meanwhile is missed
		s.fix(sub)
		sub.state = sending
	}
}

// mostFlushers bounds what waits for the end of a turn: each holds a buffer.
const mostFlushers = 256

// flushLater is Batch.Later.
func (s *shard) flushLater(f Flusher) {
	if len(s.flushers) == mostFlushers {
		s.flushNow()
	}
	s.flushers = append(s.flushers, f)
}

// flushNow is for when everybody was given what there is.
func (s *shard) flushNow() {
	for i, f := range s.flushers {
		s.flushers[i] = nil
		f.Flush()
	}
	s.flushers = s.flushers[:0]
}
