package topic

import (
	"runtime"
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

func newShard(h *Hub) *shard {
	s := &shard{hub: h, wake: make(chan struct{}, 1), index: newIndex(), beats: beats{began: time.Now()}, timer: time.NewTimer(time.Hour)}
	s.timer.Stop()
	s.later = s.flushLater
	return s
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
