package topic

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A shard is one goroutine that owns a part of the subscribers. It visits the
// entries of the tail in the order of the log, a turn at a time, and gives
// each subscriber everything of a turn in one batch.
type shard struct {
	hub    *Hub
	wake   chan struct{} // capacity 1: there is something to do
	active atomic.Bool   // it has subscribers, so new entries concern it

	mu    sync.Mutex
	inbox []command // guarded by mu

	// The goroutine owns the rest.
	obeying []command // the inbox's other buffer
	next    uint64    // position in the tail
	end     ID        // everything up to here has been visited
	turn    []*Entry
	index   index
	members []*Subscriber
	drains  bool          // by Hub.Drain: who is writable is ended
	dirty   []*Subscriber // with staged entries
	chunks  [][]byte
	single  [1][]byte // chunks of one
	beats   beats
	timer   *time.Timer
	timerAt time.Time // what the timer is set to
}

type command struct {
	kind         commandKind
	sub          *Subscriber
	subscription *subscription
	name         string
	read         *catchUp
	done         chan struct{} // closed when the command has taken effect
}

type commandKind uint8

const (
	cmdJoin commandKind = iota
	cmdSubscribe
	cmdUnsubscribe
	cmdWritable
	cmdRead
	cmdClose
	cmdDrain
)

func newShard(h *Hub) *shard {
	s := &shard{hub: h, wake: make(chan struct{}, 1), index: newIndex(), timer: time.NewTimer(time.Hour)}
	s.timer.Stop()
	return s
}

func (s *shard) post(c command) {
	s.mu.Lock()
	s.inbox = append(s.inbox, c)
	s.mu.Unlock()
	s.rouse()
}

func (s *shard) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run ends when the hub is closed. Joined by Hub.Close.
func (s *shard) run() {
	defer s.timer.Stop()
	for {
		select {
		case <-s.wake:
		case <-s.timer.C:
		case <-s.hub.closing:
			s.finish()
			return
		}
		s.obey()
		if s.visit() {
			s.rouse() // not a loop: publishing without a pause must not keep Hub.Close waiting
		}
		s.beat()
	}
}

// drain ends the subscribers whose sinks are writable, and the others when
// they settle.
func (s *shard) drain() {
	s.drains = true
	for _, sub := range s.members {
		if sub.state == live {
			s.give(sub, Batch{End: ErrClosed})
		}
	}
}

// finish ends the subscribers. The workers have ended before, so the sinks of
// those who wait for one are the shard's.
func (s *shard) finish() {
	s.obey()
	for _, sub := range s.members {
		if sub.state == live || sub.state == reading {
			s.give(sub, Batch{End: ErrClosed})
		}
	}
}

// obey carries out the commands that have come in.
func (s *shard) obey() {
	s.mu.Lock()
	s.inbox, s.obeying = s.obeying[:0], s.inbox
	s.mu.Unlock()
	for _, c := range s.obeying {
		switch c.kind {
		case cmdJoin:
			s.join(c.sub)
		case cmdSubscribe:
			s.subscribe(c.subscription)
		case cmdUnsubscribe:
			s.remove(c.sub, c.name)
			c.sub.awaiting = append(c.sub.awaiting, c.done)
			if c.sub.state == live || c.sub.state == finished {
				c.sub.answer()
			}
		case cmdWritable:
			switch c.sub.state {
			case sending:
				s.settle(c.sub)
			case reading: // the sink was faster than the worker's result
				c.sub.written = true
			}
		case cmdRead:
			s.finishRead(c.read)
		case cmdClose:
			c.sub.leaving, c.sub.closed = true, c.done
			if c.sub.state != reading { // else when the worker is done
				s.leave(c.sub)
			}
		case cmdDrain:
			s.drain()
		}
	}
	clear(s.obeying)
}

func (s *shard) join(sub *Subscriber) {
	if len(s.members) == 0 {
		s.active.Store(true) // before the position is read: nothing falls between
		s.next, s.end = s.hub.tail.position()
	}
	sub.member = len(s.members)
	s.members = append(s.members, sub)
	for _, sn := range sub.subscriptions {
		s.index.add(sn)
		sub.again = sub.again || sn.behind(s.end)
	}
	if sub.opts.Signals && s.hub.interval > 0 {
		sub.pingAt = time.Now().Add(s.hub.interval)
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
	sub.state = finished
	sub.answer()
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
	if sub.state == live {
		s.fix(sub)
	}
	s.remove(sub, sn.name)
	sub.subscriptions = append(sub.subscriptions, sn)
	s.index.add(sn)
	// A read that is on its way does not know of it.
	sub.again = sub.again || sub.state == reading || sn.behind(s.end)
	if sub.again && sub.state == live {
		s.settle(sub)
	}
}

func (s *shard) remove(sub *Subscriber, name string) {
	i := slices.IndexFunc(sub.subscriptions, func(sn *subscription) bool { return sn.name == name })
	if i < 0 {
		return
	}
	s.index.remove(sub.subscriptions[i])
	s.hub.count(sub.subscriptions[i].patterns, -1)
	sub.subscriptions = slices.Delete(sub.subscriptions, i, i+1)
}

// fix makes the cursors of a live subscriber exact: it has been given
// everything up to the shard's position.
func (s *shard) fix(sub *Subscriber) {
	for _, sn := range sub.subscriptions {
		if sn.cursor.Seq < s.end.Seq {
			sn.cursor, sn.asked = Cursor{ID: s.end}, ""
		}
	}
}

// settle decides how a subscriber goes on whose sink is writable: from the log
// if anything is missing, else live.
func (s *shard) settle(sub *Subscriber) {
	sub.answer()
	if s.drains {
		s.give(sub, Batch{End: ErrClosed})
		return
	}
	if sub.again || sub.missed != 0 {
		sub.again, sub.missed = false, 0
		sub.state = reading
		s.hub.catchUps.put(newCatchUp(sub))
		return
	}
	sub.state = live
	if sub.opts.Signals && !sub.greeted || sub.pingOwed {
		s.ping(sub)
	}
}

// finishRead takes the result of a catch-up worker.
func (s *shard) finishRead(r *catchUp) {
	sub := r.sub
	for i, sn := range r.subscriptions {
		sn.cursor, sn.asked, sn.ended = r.interests[i].After, "", ID{}
	}
	sub.greeted = true
	sub.again = sub.again || r.more
	if sub.missed <= r.end.Seq {
		sub.missed = 0
	}
	sub.state = sending
	if r.last {
		sub.state = finished
		sub.answer()
	}
	switch {
	case sub.leaving:
		s.leave(sub)
	case (r.done || sub.written) && !r.last:
		s.settle(sub)
	}
	sub.written = false
}

// visit takes one turn and reports whether there may be another.
func (s *shard) visit() bool {
	if len(s.members) == 0 {
		return false
	}
	turn, ok := s.hub.tail.take(s.next, s.turn[:0])
	if !ok {
		s.overrun()
		return true
	}
	if len(turn) == 0 {
		return false
	}
	s.turn = turn
	for i, e := range turn {
		s.index.match(e.Topic, func(sn *subscription) { s.stage(sn, i, e) })
	}
	s.next += uint64(len(turn))
	s.end = turn[len(turn)-1].ID
	s.flush()
	clear(turn)
	return true
}

// stage notes that the subscription's subscriber wants entry i of the turn.
func (s *shard) stage(sn *subscription, i int, e *Entry) {
	if e.ID.Seq <= sn.cursor.Seq {
		return
	}
	sub := sn.Subscriber
	if sub.state != live {
		sub.missed = e.ID.Seq
		return
	}
	if sub.staged == 0 {
		s.dirty = append(s.dirty, sub)
	}
	sub.staged |= 1 << i // once, however many of its subscriptions match
}

// flush sends what was staged. Subscribers with the same form and the same
// entries share the list of chunks.
func (s *shard) flush() {
	var form Form
	var mask uint64
	ends := false // the batch's last entry is the end of a topic
	for i, sub := range s.dirty {
		s.dirty[i] = nil
		if sub.staged != mask || sub.opts.Form != form {
			form, mask = sub.opts.Form, sub.staged
			s.chunks = s.chunks[:0]
			for j, e := range s.turn {
				if mask&(1<<j) == 0 {
					continue
				}
				ends = e.IsEnd()
				if form != nil {
					s.chunks = append(s.chunks, e.Encode(form))
				}
			}
		}
		sub.staged = 0
		b := Batch{Chunks: s.chunks}
		if ends && sub.opts.EndWithTopic {
			b.End = ErrEnded
		}
		s.give(sub, b)
	}
	s.dirty = s.dirty[:0]
	clear(s.chunks[:cap(s.chunks)])
}

// give sends a batch to a subscriber whose sink is writable.
func (s *shard) give(sub *Subscriber, b Batch) {
	done := sub.sink.Send(b)
	switch {
	case b.End != nil:
		sub.state = finished
	case !done: // and what comes meanwhile is missed
		s.fix(sub)
		sub.state = sending
	}
}

// overrun handles a shard that fell behind the tail: its live subscribers go
// on from the log.
func (s *shard) overrun() {
	for _, sub := range s.members {
		if sub.state == live {
			s.fix(sub)
		}
		sub.again = true
	}
	s.next, s.end = s.hub.tail.position()
	for _, sub := range s.members {
		if sub.state == live {
			s.settle(sub)
		}
	}
}

// ping sends $ping to a live subscriber.
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
	if s.single[0] = sub.opts.Form.AppendSignal(nil, pingSignal(at, s.hub.pingData)); len(s.single[0]) > 0 {
		s.give(sub, Batch{Chunks: s.single[:]})
	}
}
