package topic

// behind reports whether the subscriber lacks something that the shard has
// visited, or never will visit.
func (sub *Subscriber) behind() bool { return sub.again || sub.drops || sub.missed != 0 }

// fix makes the cursors of a subscriber exact that has been given everything
// up to the shard's position.
func (s *shard) fix(sub *Subscriber) {
	for _, sn := range sub.subscriptions {
		if sn.cursor.Seq < s.end.Seq {
			sn.cursor, sn.beginning = Cursor{ID: s.end}, &begun
		}
	}
}

// settle decides how a subscriber goes on whose sink is writable: from the log
// if anything is missing, else live.
func (s *shard) settle(sub *Subscriber) {
	sub.state = live
	if len(sub.openings) == 0 {
		sub.answer()
	}
	switch {
	case s.drains:
		s.giveWaiting(sub, ErrClosed)
		return
	case sub.tooSlow:
		s.give(sub, Batch{End: ErrTooSlow})
		return
	case sub.rest != nil && sub.behind():
		sub.state = resting
		return
	case sub.again || sub.missed != 0:
		c := newCatchUp(sub)
		sub.again, sub.missed, sub.missedKept, sub.drops = false, 0, false, false
		sub.state = reading
		s.hub.catchUps.put(c)
		return
	case sub.drops:
		if s.tellDropped(sub); sub.state != live {
			return
		}
	}
	s.caughtUp(sub)
	if sub.opts.Signals && !sub.greeted || sub.pingOwed {
		s.ping(sub)
	}
	if sub.rest != nil && sub.state == live {
		sub.state = resting
	}
}

// finishRead takes the result of a catch-up worker.
func (s *shard) finishRead(r *catchUp) {
	sub := r.sub
	for i, sn := range r.subscriptions {
		sn.moved(r.interests[i].After)
		if sn.dropped != nil {
			sn.dropped.read(r.droppedOf(i), r.end)
		}
	}
	sub.greeted = true
	sub.again = sub.again || r.more
	if sub.missed <= r.end.Seq {
		sub.missed, sub.missedKept = 0, false
	}
	s.counts.add(&r.counts)
	s.lagged(sub, r)
	if r.pause > 0 && !sub.again && sub.missed == 0 {
		s.rest(sub, r.sent.Add(r.pause))
	}
	written := sub.written
	sub.state, sub.written = sending, false
	switch {
	case sub.leaving:
		s.leave(sub)
	case r.last:
		s.over(sub)
	case r.done || written:
		s.settle(sub)
	case sub.tooSlow:
		s.cut(sub)
	}
}

// over is called when a subscriber was given its last batch, or leaves.
func (s *shard) over(sub *Subscriber) {
	sub.state = finished
	s.late.remove(sub)
	sub.answer()
	sub.aside = &calm
}
