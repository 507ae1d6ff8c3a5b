package topic

import "time"

// lagBounds are those of HubOptions; 0 is none.
type lagBounds struct {
	bytes int64
	time  time.Duration
}

// lag is what a subscriber lacks that the bounds count.
type lag struct {
	place int   // in the shard's laggards, from 1 on; 0 if it is not there
	bytes int64 // of data
	since int64 // when the log took the oldest event, or an earlier time; Unix nanoseconds; 0 if it lacks none
}

// laggards are those who lack something that came while they were not present,
// in no order.
type laggards struct {
	subs []*Subscriber
	next int64 // nobody is over the bound of time before; Unix nanoseconds; 0 if there is no such time
}

func (l *laggards) add(sub *Subscriber) {
	if sub.lag.place == 0 {
		l.subs = append(l.subs, sub)
		sub.own()
		sub.lag.place = len(l.subs)
	}
}

func (l *laggards) remove(sub *Subscriber) {
	place := sub.lag.place
	if place == 0 {
		return
	}
	last := len(l.subs) - 1
	l.subs[place-1] = l.subs[last]
	l.subs[place-1].lag.place = place
	l.subs[last] = nil
	l.subs = l.subs[:last]
	sub.lag = lag{}
}

// lags is told of an entry that a subscriber lacks.
func (s *shard) lags(sub *Subscriber, e ruled) {
	s.late.add(sub)
	if sub.replays || sub.opts.Form == nil || e.rule.Supersedes(&e.Event, &e.Event) || e.rule.Slow == SlowDrop {
		return
	}
	bounds := s.hub.maxLag
	sub.lag.bytes += int64(len(e.Data))
	if sub.lag.since == 0 {
		sub.lag.since = e.nanos
		s.late.expect(sub.lag.since, bounds)
	}
	if bounds.bytes > 0 && sub.lag.bytes > bounds.bytes {
		s.endSlow(sub)
	}
}

// lagged is told what a read has given to a subscriber.
func (s *shard) lagged(sub *Subscriber, r *catchUp) {
	switch {
	case sub.lag.since == 0:
	case !sub.again && !sub.missedKept:
		sub.lag.bytes, sub.lag.since = 0, 0
	default:
		sub.lag.bytes = max(0, sub.lag.bytes-r.data)
		sub.lag.since = max(sub.lag.since, r.newest)
	}
}

// caughtUp is called when a subscriber lacks nothing.
func (s *shard) caughtUp(sub *Subscriber) {
	s.late.remove(sub)
	if sub.rest == nil && len(sub.waiting) == 0 && sub.awaiting == nil && sub.openings == nil {
		sub.aside = &calm
	}
	if sub.replays {
		sub.replays = false
		for _, sn := range sub.subscriptions {
			sn.replays = false
		}
	}
}

// replay has all that the subscriber lacks given to it, whatever the rules say.
func (sub *Subscriber) replay() {
	sub.replays = true
	for _, sn := range sub.subscriptions {
		sn.replays = true
	}
	if sub.lag.since != 0 {
		sub.lag.bytes, sub.lag.since = 0, 0
	}
}

func (l *laggards) expect(since int64, bounds lagBounds) {
	if over := since + int64(bounds.time); bounds.time > 0 && (l.next == 0 || over < l.next) {
		l.next = over
	}
}

// lagDue is when somebody may be over the bound of time; zero if nobody can.
func (s *shard) lagDue() time.Time {
	if s.late.next == 0 {
		return time.Time{}
	}
	return time.Unix(0, s.late.next)
}

// endLaggards ends those who are over the bound of time.
func (s *shard) endLaggards(now time.Time) {
	if s.late.next == 0 || now.UnixNano() < s.late.next {
		return
	}
	s.late.next = 0
	bounds := s.hub.maxLag
	for i := len(s.late.subs) - 1; i >= 0; i-- { // who is ended makes place for a later one
		sub := s.late.subs[i]
		switch {
		case sub.lag.since == 0 || sub.tooSlow:
		case now.UnixNano() >= sub.lag.since+int64(bounds.time):
			s.endSlow(sub)
		default:
			s.late.expect(sub.lag.since, bounds)
		}
	}
}

// endSlow ends a subscriber that is too slow: now, or when its sink can be
// called. Nothing else is given to it.
func (s *shard) endSlow(sub *Subscriber) {
	if sub.tooSlow {
		return
	}
	sub.tooSlow = true
	s.counts.TooSlow++
	switch sub.state {
	case resting:
		s.give(sub, Batch{End: ErrTooSlow})
	case sending:
		s.cut(sub)
	}
}

// cut ends a subscriber whose sink keeps a batch, if the sink can do that. Else
// it is ended when the batch is written.
func (s *shard) cut(sub *Subscriber) {
	if c, ok := sub.sink.(Cutter); ok {
		c.Cut(ErrTooSlow)
		s.over(sub)
	}
}
