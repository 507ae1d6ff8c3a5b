package topic

import "time"

// beats is the order in which a shard's subscribers are due for $ping. All
// have the same interval, so who was pinged last is due last.
type beats struct {
	began       time.Time // when the clock was 0
	first, last *Subscriber
}

// clock is the time as subscribers keep it.
func (b *beats) clock(now time.Time) time.Duration { return now.Sub(b.began) }

func (b *beats) push(sub *Subscriber) {
	sub.earlier, sub.laterOn = b.last, nil
	if b.last != nil {
		b.last.laterOn = sub
	} else {
		b.first = sub
	}
	b.last = sub
}

func (b *beats) remove(sub *Subscriber) {
	if sub.earlier == nil && b.first != sub {
		return // has no heartbeat
	}
	if sub.earlier != nil {
		sub.earlier.laterOn = sub.laterOn
	} else {
		b.first = sub.laterOn
	}
	if sub.laterOn != nil {
		sub.laterOn.earlier = sub.earlier
	} else {
		b.last = sub.earlier
	}
	sub.earlier, sub.laterOn = nil, nil
}

// due is when somebody is due; zero if nobody is.
func (b *beats) due() time.Time {
	if b.first == nil {
		return time.Time{}
	}
	return b.began.Add(b.first.pingAt)
}

// beat pings who is due. One who lacks something gets the ping as soon as it
// does not.
func (s *shard) beat(now time.Time) {
	clock := s.beats.clock(now)
	for sub := s.beats.first; sub != nil && sub.pingAt <= clock; sub = s.beats.first {
		s.beats.remove(sub)
		if sub.state == finished {
			continue
		}
		sub.pingAt += s.hub.interval
		if sub.pingAt < clock { // the process was stopped: no burst
			sub.pingAt = clock + s.hub.interval
		}
		s.beats.push(sub)
		if sub.state == live || sub.state == resting && !sub.behind() && len(sub.waiting) == 0 {
			s.ping(sub)
		} else {
			sub.pingOwed = true
		}
	}
}

// ping sends $ping to a subscriber that lacks nothing.
func (s *shard) ping(sub *Subscriber) {
	sub.greeted, sub.pingOwed = true, false
	s.fix(sub)
	at := Cursor{ID: s.end}
	for i, sn := range sub.subscriptions {
		if i > 0 && sn.cursor != at { // some begin beyond the shard's position
			at = Cursor{}
			break
		}
		at = sn.cursor
	}
	var err error
	if s.single[0], err = encodeSignal(sub.opts.Form, pingSignal(at, s.hub.pingData)); err != nil {
		s.give(sub, Batch{End: err})
	} else if len(s.single[0]) > 0 {
		s.give(sub, Batch{Chunks: s.single[:]})
	}
}
