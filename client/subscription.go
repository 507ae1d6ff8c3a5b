package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"

	"github.com/duplexhq/duplex/topic"
)

const (
	// queueEvents and queueBytes bound what was received and not yet yielded. A
	// single larger event is taken when the queue is empty.
	queueEvents = 256
	queueBytes  = 1 << 20
)

var (
	// errOver ends a subscription without an error: its topic has ended.
	errOver = errors.New("over")
	// errStale is told to a feed that does not count any more.
	errStale = errors.New("another connection has taken over")
	// errFull is told to a feed that must not go on yet.
	errFull = errors.New("the reader is slow")
	// errAgain is told to a feed that has to begin again, at the cursor.
	errAgain = errors.New("the gap may be another's")
)

// A subscription is a cursor, and a short queue of what was received. Events
// come from feeds, of which one counts at a time.
type subscription struct {
	SubscribeOptions
	topics   []string
	patterns []topic.Pattern
	only     string // the topic, if there is one and no pattern

	mu       sync.Mutex // guards what follows
	cursor   string     // where to go on
	placed   bool       // the cursor is one of the server, neither Earliest nor Now
	seen     seen
	feed     *feed // that counts; nil if there is none
	link     int64 // the number of the newest link that a feed was of
	pending  map[*feed]struct{}
	queue    []queued
	bytes    int           // of queue
	ready    chan struct{} // closed when the consumer has something to do, if it waits
	room     chan struct{} // closed when there is room again, if a feed waits
	resume   func()        // called when there is room again, if a session waits
	parked   bool          // its feed ended because the consumer is slow
	finished bool
	err      error // why; nil at the end of the only topic
}

// queued is something for the consumer.
type queued struct {
	event  topic.Envelope
	opened bool // it is no event: Opened is to be called
}

// A feed is what one connection brings for a subscription. It is pending until
// it is promoted.
type feed struct {
	s       *subscription
	after   string        // where it begins
	behind  bool          // it may still bring what the feed before has
	dropped chan struct{} // closed when it does not count any more
}

func newSubscription(topics []string, opts *SubscribeOptions) (*subscription, error) {
	s := &subscription{topics: topics, seen: make(seen), pending: make(map[*feed]struct{})}
	if opts != nil {
		s.SubscribeOptions = *opts
	}
	if len(topics) == 0 {
		return nil, errNoTopics
	}
	for _, name := range topics {
		pattern, err := topic.ParsePattern(name)
		if err != nil {
			return nil, err
		}
		s.patterns = append(s.patterns, pattern)
		if len(topics) == 1 && pattern.Literal() {
			s.only = name
		}
	}
	s.cursor = cmp.Or(s.After, Now)
	s.placed = s.cursor != Now && s.cursor != Earliest
	return s, nil
}

// begin makes a feed that goes on after the cursor, which it returns.
func (s *subscription) begin() (f *feed, after string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f = &feed{s: s, after: s.cursor, dropped: make(chan struct{})}
	s.pending[f] = struct{}{}
	return f, s.cursor
}

// promote makes the feed count, and drops the one before. The place is where
// it has begun, if it knows. A feed of an older link than that of the one before
// comes too late: it has connected again while it was taken over.
func (f *feed) promote(link int64, place string) error {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.pending[f]; !ok || s.finished || link < s.link {
		return errStale
	}
	delete(s.pending, f)
	s.link = link
	switch {
	case s.feed != nil:
		close(s.feed.dropped)
	case !s.parked:
		s.push(queued{opened: true})
	}
	s.feed, s.resume, s.parked = f, nil, false
	f.behind = f.after != s.cursor
	if !s.placed && place != "" {
		f.move(place)
	}
	return nil
}

// end is called when the connection of the feed is over.
func (f *feed) end() {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, f)
	if s.feed == f {
		s.feed = nil
		close(f.dropped)
	}
}

// move goes on to a cursor of the server, unless it was passed.
func (f *feed) move(cursor string) {
	if s := f.s; cursor != "" && !s.seen.passed(cursor) {
		s.seen.add(cursor)
		s.cursor, s.placed = cursor, true
		f.behind = false
	}
}

// take moves the cursor, and queues what is for the consumer, unless that was
// given before. It returns errFull if the same has to be given again later.
func (f *feed) take(e topic.Envelope, passesOthers bool) error {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.feed != f || s.finished {
		return errStale
	}
	forConsumer := !strings.HasPrefix(e.Type, "$")
	switch {
	case forConsumer && s.seen.has(e.ID):
		return nil
	case e.Type == topic.TypeGap:
		// It may be about what the feed before has given. The server can tell.
		if f.behind {
			s.parked = true // the consumer need not know
			return errAgain
		}
		forConsumer = true
	case e.Type == topic.TypeEnd:
		forConsumer = s.only != "" || !s.seen.has(e.ID)
	}
	if forConsumer {
		if s.full(len(e.Data)) {
			return errFull
		}
		s.push(queued{event: e})
	}
	// §6.1: signals that are not known are ignored, but for their id.
	if !passesOthers {
		f.move(e.ID)
	}
	if e.Type == topic.TypeEnd && s.only != "" {
		s.finish(nil)
		return errOver
	}
	return nil
}

// turn ends a page: where the next one goes on, which says more than the id
// of its last event.
func (f *feed) turn(cursor string) error {
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.feed != f || s.finished {
		return errStale
	}
	f.move(cursor)
	return nil
}

// place is where the next page begins.
func (f *feed) place() (cursor string, placed bool) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return f.s.cursor, f.s.placed
}

// waitRoom waits until take may succeed with so many bytes.
func (f *feed) waitRoom(ctx context.Context, more int) error {
	s := f.s
	s.mu.Lock()
	if !s.full(more) {
		s.mu.Unlock()
		return nil
	}
	if s.room == nil {
		s.room = make(chan struct{})
	}
	room := s.room
	s.mu.Unlock()
	select {
	case <-room:
		return nil
	case <-f.dropped:
		return errStale
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// park ends the feed, and has resume called once there is room again.
func (f *feed) park(resume func()) {
	f.end()
	s := f.s
	s.mu.Lock()
	s.parked = true
	waiting := len(s.queue) > 0 && s.feed == nil
	if waiting {
		s.resume = resume
	}
	s.mu.Unlock()
	if !waiting {
		resume()
	}
}

func (s *subscription) full(more int) bool {
	return len(s.queue) >= queueEvents || s.bytes > 0 && s.bytes+more > queueBytes
}

// crowded reports whether who waits for room is to wait on.
func (s *subscription) crowded() bool {
	return len(s.queue) > queueEvents/2 || s.bytes > queueBytes/2
}

func (s *subscription) push(q queued) {
	s.queue = append(s.queue, q)
	s.bytes += len(q.event.Data)
	s.wake()
}

func (s *subscription) wake() {
	if s.ready != nil {
		close(s.ready)
		s.ready = nil
	}
}

// finish is the end: what is queued is still yielded, then err.
func (s *subscription) finish(err error) {
	if s.finished {
		return
	}
	s.finished, s.err = true, err
	s.wake()
}

// stop is finish for those who do not hold the lock.
func (s *subscription) stop(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish(err)
}

// next waits for an event. errOver is an end without an error.
func (s *subscription) next(ctx context.Context) (topic.Envelope, error) {
	for {
		q, ready, err := s.pop()
		switch {
		case err != nil:
			return topic.Envelope{}, err
		case ready == nil && q.opened:
			if s.Opened != nil {
				s.Opened()
			}
		case ready == nil:
			return q.event, nil
		default:
			select {
			case <-ready:
			case <-ctx.Done():
				return topic.Envelope{}, context.Cause(ctx)
			}
		}
	}
}

// pop takes what is first in the queue, or gives what to wait for.
func (s *subscription) pop() (q queued, ready chan struct{}, err error) {
	s.mu.Lock()
	if len(s.queue) == 0 {
		defer s.mu.Unlock()
		switch {
		case s.finished && s.err != nil:
			return q, nil, s.err
		case s.finished:
			return q, nil, errOver
		}
		s.ready = make(chan struct{})
		return q, s.ready, nil
	}
	q = s.queue[0]
	s.queue[0] = queued{}
	s.queue = s.queue[1:]
	s.bytes -= len(q.event.Data)
	var resume func()
	if !s.crowded() {
		if s.room != nil {
			close(s.room)
			s.room = nil
		}
		resume, s.resume = s.resume, nil
	}
	s.mu.Unlock()
	if resume != nil {
		resume()
	}
	return q, nil, nil
}

// endOf is the $end of a topic that has nothing after the cursor.
func endOf(only, cursor string, placed bool) topic.Envelope {
	data, _ := json.Marshal(struct { // never fails for a string
		Topic string `json:"topic"`
	}{only})
	e := topic.Envelope{Type: topic.TypeEnd, Data: data, Kind: topic.JSON}
	if placed {
		e.ID = cursor
	}
	return e
}
