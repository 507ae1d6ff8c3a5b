package topic

import (
	"slices"
	"time"
)

// A rest is the end of a batching interval, and those who wait for it.
type rest struct {
	until time.Time
	subs  []*Subscriber // also some who do not wait any more
}

// What waits is given before the rest is over when it is this much.
const (
	waitEvents = 256
	waitBytes  = 64 << 10
)

// rest has a subscriber that was given a batch get nothing until then, unless
// that was the last.
func (s *shard) rest(sub *Subscriber, until time.Time) {
	if sub.state == finished {
		return
	}
	i, found := slices.BinarySearchFunc(s.rests, until, func(r *rest, until time.Time) int { return r.until.Compare(until) })
	if !found {
		s.rests = slices.Insert(s.rests, i, &rest{until: until})
	}
	s.rests[i].subs = append(s.rests[i].subs, sub)
	sub.own()
	sub.rest = s.rests[i]
	if sub.state == live {
		sub.state = resting
	}
}

// restDue is when the next rest is over; zero if there is none.
func (s *shard) restDue() time.Time {
	if len(s.rests) == 0 {
		return time.Time{}
	}
	return s.rests[0].until
}

// endRests gives those whose rest is over what has come meanwhile.
func (s *shard) endRests(now time.Time) {
	for len(s.rests) > 0 && !s.rests[0].until.After(now) {
		r := s.rests[0]
		s.rests = slices.Delete(s.rests, 0, 1)
		for _, sub := range r.subs {
			if sub.rest != r {
				continue
			}
			sub.rest = nil
			if sub.state == resting {
				s.endRest(sub, now)
			}
		}
	}
	if len(s.waitedFor) > 0 {
		s.waited.release()
		clear(s.waitedFor)
		s.waitedFor = s.waitedFor[:0]
	}
}

// endRest gives a subscriber what has waited, after which it rests again.
func (s *shard) endRest(sub *Subscriber, now time.Time) {
	sub.state, sub.rest = live, nil
	if len(sub.waiting) > 0 {
		s.giveWaiting(sub, nil)
		if s.waited.pause > 0 {
			s.rest(sub, now.Add(s.waited.pause))
		}
	} else {
		sub.waiting = nil
	}
	if sub.state == live || sub.state == resting {
		s.settle(sub)
	}
}

// wait keeps what was staged until the subscriber's rest is over.
func (s *shard) wait(sub *Subscriber) {
	for j, e := range s.turn {
		if sub.staged&(1<<j) != 0 {
			sub.waiting = append(sub.waiting, e)
			sub.waitingBytes += len(e.Data)
		}
	}
	sub.staged = 0
	if len(sub.waiting) >= waitEvents || sub.waitingBytes >= waitBytes {
		s.endRest(sub, time.Now())
	}
}

// hurry ends the rest of a subscriber that is given something else now.
func (s *shard) hurry(sub *Subscriber) {
	if sub.rest != nil {
		sub.rest = nil
	}
	if sub.state == resting {
		sub.state = live
		if len(sub.waiting) > 0 {
			s.giveWaiting(sub, nil)
		}
	}
}

// giveWaiting gives a subscriber whose sink is writable what has waited, and
// ends it if there is an end.
func (s *shard) giveWaiting(sub *Subscriber, end error) {
	if len(sub.waiting) == 0 {
		s.give(sub, Batch{End: end})
		return
	}
	l := &s.waited
	if sub.opts.Form != l.form || !slices.Equal(sub.waiting, s.waitedFor) {
		s.waitedFor = append(s.waitedFor[:0], sub.waiting...)
		left := conflate(sub.waiting)
		s.waitedConflated = len(sub.waiting) - len(left)
		l.fill(sub.opts.Form, left)
	}
	s.counts.Conflated += uint64(s.waitedConflated)
	clear(sub.waiting)
	sub.waiting, sub.waitingBytes = sub.waiting[:0], 0
	s.giveList(sub, l, end)
}
