package topic

import (
	"slices"
	"time"
)

func (s *shard) join(sub *Subscriber) {
	if len(s.members) == 0 {
		s.active.Store(true) // before the position is read: nothing falls between
		s.next, s.end = s.hub.tail.position()
	}
	sub.member = int32(len(s.members))
	s.members = append(s.members, sub)
	sub.replays = true
	for _, sn := range sub.subscriptions {
		s.index.add(sn)
		sub.again = sub.again || sn.behind(s.end)
	}
	if sub.opts.Signals && s.hub.interval > 0 {
		sub.pingAt = s.beats.clock(time.Now()) + s.hub.interval
		s.beats.push(sub)
	}
	s.settle(sub)
}

func (s *shard) leave(sub *Subscriber) {
	for _, sn := range sub.subscriptions {
		s.index.remove(sn)
		s.hub.count(sn.patterns, -1)
	}
	sub.subscriptions = nil
	last := len(s.members) - 1
	s.members[sub.member] = s.members[last]
	s.members[sub.member].member = sub.member
	s.members[last] = nil
	s.members = s.members[:last]
	if last == 0 {
		s.active.Store(false)
	}
	s.beats.remove(sub)
	s.over(sub)
	if sub.closed != nil {
		close(sub.closed)
	}
}

func (s *shard) subscribe(sn *subscription) {
	sub := sn.Subscriber
	if sub.leaving { // by another goroutine than the one that subscribes
		s.hub.count(sn.patterns, -1)
		return
	}
	s.hurry(sub)
	if sub.state == live && !sub.behind() {
		s.fix(sub)
	}
	s.remove(sub, sn.name)
	sub.subscriptions = append(sub.subscriptions, sn)
	s.index.add(sn)
	sub.replays = true
	// A read that is on its way does not know of it.
	sub.again = sub.again || sub.state == reading || sn.behind(s.end)
	if sub.state == live {
		s.settle(sub)
	}
}

func (s *shard) remove(sub *Subscriber, name string) {
	i := slices.IndexFunc(sub.subscriptions, func(sn *subscription) bool { return sn.name == name })
	if i < 0 {
		return
	}
	sn := sub.subscriptions[i]
	if sn.opening != nil {
		sub.own()
		sub.openings = append(sub.openings, sn.opening)
		sub.again = true
	}
	s.index.remove(sn)
	s.hub.count(sn.patterns, -1)
	sub.subscriptions = slices.Delete(sub.subscriptions, i, i+1)
}
