package topic

import (
	"math/bits"
	"time"
)

// visit takes one turn and reports whether there may be another.
func (s *shard) visit() bool {
	if len(s.members) == 0 {
		return false
	}
	if !s.take() {
		s.overrun()
		return true
	}
	if len(s.turn) == 0 {
		return false
	}
	s.flush()
	clear(s.turn)
	s.turn = s.turn[:0]
	return true
}

// take stages what has come, as far as the turn has room. It reports false if
// the tail no longer reaches back to it.
func (s *shard) take() bool {
	turn, ok := s.hub.tail.take(s.next, s.turn)
	if !ok || len(turn) == len(s.turn) {
		return ok
	}
	fresh := len(s.turn)
	s.turn = turn
	for i, e := range turn[fresh:] {
		s.index.match(e.Topic, func(b bucket) { s.stage(b, fresh+i) })
	}
	s.next += uint64(len(turn) - fresh)
	s.end = turn[len(turn)-1].ID
	return true
}

// stage notes that the subscriptions' subscribers want entry i of the turn.
func (s *shard) stage(subscriptions bucket, i int) {
	e := s.turn[i]
	id := e.ID
	for _, p := range subscriptions {
		sn := p.subscription
		if id.Seq <= sn.cursor.Seq && id.Epoch == sn.cursor.Epoch {
			continue
		}
		sub := sn.Subscriber
		if sub.state != live && (sub.state != resting || sub.behind()) {
			s.miss(sn, e)
			continue
		}
		if sub.staged == 0 {
			s.dirty = append(s.dirty, sub)
		}
		sub.staged |= 1 << i // once, however many of its subscriptions match
	}
}

// miss notes that a subscriber could not be given an entry now.
func (s *shard) miss(sn *subscription, e ruled) {
	sub := sn.Subscriber
	switch {
	case sub.state == finished:
	case e.passing():
		sub.missed = e.ID.Seq
	case e.rule.Slow == SlowDrop && !sn.replays && sub.opts.Form != nil && !e.IsEnd():
		if sn.dropped == nil {
			sn.dropped = new(dropped)
		}
		sn.dropped.to = e.ID.Seq
		sub.drops = true
		s.counts.Dropped++
	case sub.missed != e.ID.Seq: // it may match several subscriptions
		sub.missed, sub.missedKept = e.ID.Seq, true
		s.lags(sub, e)
	}
}

// flush gives what was staged. What comes while it does so joins the turn: those
// who are still to be served get it with the rest, the others in a second round.
func (s *shard) flush() {
	s.beginYields()
	for s.open = true; s.served < len(s.dirty); s.open = false {
		for s.round = len(s.dirty); s.served < s.round; {
			s.serve()
		}
		s.flushNow()
	}
	clear(s.dirty)
	s.dirty, s.served = s.dirty[:0], 0
	s.fresh.release()
	clear(s.wanted)
}

// serve gives until the round is over, or a sink has panicked. Subscribers with
// the same form and the same entries share the list.
func (s *shard) serve() {
	var (
		now     time.Time        // if it is needed
		mask    uint64           // whose list it is
		opts    SubscribeOptions // whose batch
		batch   Batch
		serving *Subscriber
	)
	defer func() { // one for all: one for each would be a quarter of what a delivery costs
		if serving != nil {
			endPanicked(serving.sink, recover(), batch.End != nil)
			s.over(serving)
		}
	}()
	l := &s.fresh
	for s.served < s.round {
		if s.served%yieldEvery == yieldEvery-1 && s.yield() {
			now = time.Time{}
		}
		sub := s.dirty[s.served]
		s.served++
		if sub.state == resting {
			s.wait(sub)
			continue
		}
		if sub.staged != mask || sub.opts != opts {
			if sub.staged != mask || sub.opts.Form != opts.Form {
				l.fill(sub.opts.Form, s.wantedBy(sub))
			}
			mask, opts = sub.staged, sub.opts
			batch = l.batch(&opts, nil)
			batch.Later = s.later
		}
		sub.staged = 0
		s.counts.gave(l)
		serving = sub
		done := sub.sink.Send(batch)
		serving = nil
		s.given(sub, done, batch.End != nil)
		if l.pause > 0 {
			if now.IsZero() {
				now = time.Now()
			}
			s.rest(sub, now.Add(l.pause))
		}
	}
}

// wantedBy returns the entries that are staged for a subscriber. The next call
// changes them.
func (s *shard) wantedBy(sub *Subscriber) []ruled {
	s.wanted = s.wanted[:0]
	for mask := sub.staged; mask != 0; mask &= mask - 1 {
		s.wanted = append(s.wanted, s.turn[bits.TrailingZeros64(mask)])
	}
	return s.wanted
}

// overrun handles a shard that fell behind the tail: its live subscribers go
// on from the log.
func (s *shard) overrun() {
	for _, sub := range s.members {
		if s.hurry(sub); sub.state == live && !sub.behind() {
			s.fix(sub)
		}
		sub.again = true
		sub.replay() // it is not its fault
	}
	s.next, s.end = s.hub.tail.position()
	for _, sub := range s.members {
		if sub.state == live {
			s.settle(sub)
		}
	}
}
