package topic

import (
	"math/bits"
	"runtime"
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
	obeying         []command // the inbox's other buffer
	next            uint64    // position in the tail
	end             ID        // everything up to here has been visited
	turn            []ruled
	open            bool // what comes joins the turn
	index           index
	members         []*Subscriber
	drains          bool          // by Hub.Drain: who is writable is ended
	dirty           []*Subscriber // with staged entries
	served          int           // of them
	round           int           // so many are served in this one
	yielded         time.Time     // or when the turn began
	stretch         time.Duration // for which it works until it yields again
	wanted          []ruled       // by one of them
	single          [1][]byte     // chunks of one
	fresh           list          // of a turn
	waited          list          // of waitedFor, what waited for the end of a rest
	waitedFor       []ruled
	waitedConflated int // of them are not in the list
	beats           beats
	rests           []*rest // by when they are over
	late            laggards
	counts          Stats // of what the goroutine has seen
	shown           shownStats
	timer           *time.Timer
	timerAt         time.Time // what the timer is set to
	flushers        []Flusher // what sinks have put off
	later           func(Flusher)
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
	s := &shard{hub: h, wake: make(chan struct{}, 1), index: newIndex(), beats: beats{began: time.Now()}, timer: time.NewTimer(time.Hour)}
	s.timer.Stop()
	s.later = s.flushLater
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
			// Whoever is about to publish does so first: a turn with several
			// entries costs hardly more than a turn with one.
			runtime.Gosched()
		case <-s.timer.C:
			s.timerAt = time.Time{}
		case <-s.hub.closing:
			s.finish()
			s.flushNow()
			return
		}
		s.obey()
		if s.visit() {
			s.rouse() // not a loop: publishing without a pause must not keep Hub.Close waiting
		}
		now := time.Now()
		s.endRests(now)
		s.beat(now)
		s.endLaggards(now)
		s.flushNow()
		s.setTimer(now)
		s.show()
	}
}

// setTimer sets the timer to whatever is due next.
func (s *shard) setTimer(now time.Time) {
	var next time.Time
	for _, at := range [...]time.Time{s.beats.due(), s.restDue(), s.lagDue()} {
		if next.IsZero() || !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	if !next.IsZero() && !next.Equal(s.timerAt) {
		s.timerAt = next
		s.timer.Reset(next.Sub(now))
	}
}

// drain ends the subscribers whose sinks are writable, and the others when
// they settle.
func (s *shard) drain() {
	s.drains = true
	for _, sub := range s.members {
		if sub.state == live || sub.state == resting {
			s.giveWaiting(sub, ErrClosed)
		}
	}
}

// finish ends the subscribers. The workers have ended before, so the sinks of
// those who wait for one are the shard's.
func (s *shard) finish() {
	s.obey()
	for _, sub := range s.members {
		if sub.state != sending && sub.state != finished {
			s.giveWaiting(sub, ErrClosed)
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
			s.hurry(c.sub)
			s.remove(c.sub, c.name)
			c.sub.own()
			c.sub.awaiting = append(c.sub.awaiting, c.done)
			switch c.sub.state {
			case live:
				s.settle(c.sub)
			case finished:
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

// giveList gives a list, and ends the subscriber if there is an end.
func (s *shard) giveList(sub *Subscriber, l *list, end error) {
	s.counts.gave(l)
	b := l.batch(&sub.opts, end)
	b.Later = s.later
	done, over := deliver(sub.sink, b)
	s.given(sub, done, over)
}

// give gives a batch without events.
func (s *shard) give(sub *Subscriber, b Batch) {
	s.counts.Batches++
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
