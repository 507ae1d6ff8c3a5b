package topic

import (
	"errors"
	"fmt"
	"time"
)

// A Sink takes the bytes of one subscriber to its peer.
//
// Send offers the next batch and must not block. It returns true if the batch
// is gone and another may come. False means that the sink keeps the batch's
// chunks until they are written, and that it then calls
// [Subscriber.Writable]; until then nothing more is offered, and what happens
// meanwhile is read later, from the log and the hub's tail. Send is called by one goroutine at a
// time. The slice of chunks is the hub's and valid during the call only; the
// chunks are shared bytes that nobody may change.
type Sink interface {
	Send(Batch) (done bool)
}

// A Cutter is a [Sink] that can be ended while it keeps a batch. Cut is called
// instead of the last Send, must not block, and may be followed by a call of
// Writable, which means nothing then.
type Cutter interface {
	Sink
	Cut(end error)
}

// A Batch is what a subscriber is given at once.
type Batch struct {
	Chunks [][]byte // in the subscriber's form; each is a signal, an event, or several with SubscribeOptions.Join
	// Entries are what a subscriber without a form is told of that is live, or all
	// that it lacks, if the log does not keep some of it; valid during the call.
	// Without them there is something to read from the log.
	Entries []*Entry
	// End is not nil in the last batch: ErrEnded if the topic was ended, a
	// *GapError if the subscriber asked to be ended by a gap, ErrTooSlow if it
	// lagged beyond a bound of the hub, ErrClosed if the hub was closed, else
	// what the log said.
	End error
	// Later, if not nil, has something flushed soon, once others were given
	// what there is, too: for sinks that share a connection. It is valid during
	// the call.
	Later func(Flusher)
}

// A Flusher sends what sinks have been given. It must not block.
type Flusher interface{ Flush() }

// ErrTooSlow ends a subscriber that lags beyond [HubOptions].MaxLagBytes or
// MaxLagTime.
var ErrTooSlow = errors.New("topic: subscriber is too slow")

// A GapError ends a subscriber that cannot be told of a gap in band.
type GapError struct {
	Oldest ID // zero if nothing is left
}

func (e *GapError) Error() string {
	if e.Oldest.Seq == 0 {
		return "topic: events after the cursor are lost"
	}
	return fmt.Sprintf("topic: events after the cursor are lost, the oldest left is %v", e.Oldest)
}

// A Start is where a subscription begins. See [Hub.Now], [Hub.After] and
// [Hub.Earliest].
type Start struct {
	Cursor Cursor
	Asked  string // the cursor's text as the client gave it, for its $gap
	// Lost says that more than the log knows of is lost after the cursor: there
	// is a gap in any case.
	Lost bool

	began ID // the end of the log then: events of ephemeral topics are given from here on
}

// Selection is what one subscription reads: some topics and patterns, and
// where it begins.
type Selection struct {
	Name     string    // as the client calls it; unique in its subscriber
	Patterns []Pattern // at least one
	Start    Start
	// Opening, in the subscriber's form, is sent once when the selection takes
	// effect: what comes before it is not the selection's, what comes after
	// may be. nil is none.
	Opening []byte
}

// SubscribeOptions say what a subscriber is given besides events.
type SubscribeOptions struct {
	// Form encodes for this subscriber. Without a form, the sink is only told
	// by a batch without chunks that there is something to read.
	Form Form
	// Signals: the first thing sent is $gap or $ping, and $ping follows at the
	// hub's interval. Not without a form.
	Signals bool
	// EndWithTopic ends the subscriber with its (only) topic.
	EndWithTopic bool
	// EndAtGap ends the subscriber instead of sending it $gap.
	EndAtGap bool
	// Join has events of a batch given in one chunk where that is cheaper to
	// write, for a sink that does not look at them.
	Join bool
	// Named puts the subscription's name into its $gap.
	Named bool
}

// A Subscriber is a cursor with a sink. Its methods may be called from any
// goroutine but not from within Send.
type Subscriber struct {
	shard *shard

	// What a delivery needs lies together.
	sink Sink
	opts SubscribeOptions

	// The shard owns the rest.
	staged uint64 // this turn's entries to send, one bit each
	missed uint64 // newest matching entry visited while not present; 0 if none
	member int32  // index into shard.members
	state  state
	again  bool // there is more to read from the log before it can be live
	// missedKept: some of what it missed is in the log, not only in the tail.
	missedKept bool
	drops      bool // something was dropped that it is to be told of
	replays    bool // one of its subscriptions has not been live since its Start
	tooSlow    bool // to be ended
	written    bool // the sink has written a batch whose read is not reported yet
	greeted    bool
	pingOwed   bool // a heartbeat came due that could not be sent
	leaving    bool // Leave or Close was called

	*aside        // never nil
	subscriptions []*subscription

	pingAt           time.Duration // on the shard's clock
	earlier, laterOn *Subscriber   // neighbours in the shard's order of pingAt

	closed chan struct{} // made by Close, closed by the shard; nil after Leave
}

// A lone is a subscriber with one subscription, as most are, in one piece.
type lone struct {
	Subscriber
	subscription subscription
	list         [1]*subscription
}

// aside is what a subscriber needs while it rests, lags or is waited for.
type aside struct {
	awaiting     []chan struct{} // Unsubscribe calls, until no batch is on its way
	openings     [][]byte        // of subscriptions that were removed before they were sent
	rest         *rest           // until it is over, nothing is given
	waiting      []ruled         // to be given then
	waitingBytes int
	lag          lag
}

// calm is everybody's who does nothing of this. It is never written to.
var calm aside

// own gives the subscriber an aside that may be written to.
func (sub *Subscriber) own() {
	if sub.aside == &calm {
		sub.aside = new(aside)
	}
}

// A state says who may call the sink, and what a matching entry does.
type state uint8

const (
	// live: the sink is writable and has been given everything that the shard
	// has visited. The shard calls the sink. Entered when a read or a write
	// has ended and nothing was missed.
	live state = iota
	// resting: the sink is writable, but a batching interval is not over. The
	// shard calls the sink. Entered from live by a batch of such a topic, or
	// when a write has ended; left when the interval is over, or by a command
	// that cannot wait.
	resting
	// reading: a catch-up worker reads the log and calls the sink. Entered
	// when something is missing, left when the shard gets the result.
	reading
	// sending: the sink writes; nobody calls it. Left by Writable.
	sending
	// finished: the last batch was given. Left by Close only.
	finished
)

// subscription is one selection of a subscriber.
type subscription struct {
	*Subscriber
	// cursor is exact while the subscriber is not live. While it is live, the
	// cursor is the shard's position, unless this one lies further on.
	cursor     Cursor
	name       string
	patterns   []Pattern
	*beginning          // never nil
	dropped    *dropped // nil if nothing was
	slots      *[]int32 // where the patterns but the first stand in their buckets; nil if there are none
	slot       int32    // where the first does
	replays    bool     // it has not been live since its Start: nothing is dropped
}

// slotOf returns where a pattern stands in its bucket.
func (s *subscription) slotOf(pattern int) *int32 {
	if pattern == 0 {
		return &s.slot
	}
	return &(*s.slots)[pattern-1]
}

// beginning is what a subscription needs until the first read.
type beginning struct {
	asked   string // of the cursor
	ended   ID     // the topic's end, if it lies at or before the cursor: to be read once more
	opening []byte // until it is sent
	lost    bool   // what lies after the cursor, although the log has no gap
	began   ID     // of Start, until the cursor is there
}

// begun is everybody's who has begun. It is never written to.
var begun beginning

func newSubscription(sub *Subscriber, sel Selection) subscription {
	s := subscription{
		Subscriber: sub,
		name:       sel.Name,
		patterns:   sel.Patterns,
		cursor:     sel.Start.Cursor,
		beginning:  &begun,
		replays:    true,
	}
	if n := len(sel.Patterns); n > 1 {
		s.slots = new(make([]int32, n-1))
	}
	b := beginning{asked: sel.Start.Asked, opening: sel.Opening, lost: sel.Start.Lost, began: sel.Start.began}
	if len(sel.Patterns) == 1 && sel.Patterns[0].Literal() {
		if end, ok := sub.shard.hub.log.Ended(sel.Patterns[0].String()); ok && s.cursor.Epoch != 0 && s.cursor.Seq >= end.Seq {
			b.ended = end
		}
	}
	if b.asked != "" || b.ended.Seq != 0 || b.opening != nil || b.lost || b.began.Seq > s.cursor.Seq {
		s.beginning = &b
	}
	return s
}

// moved is called when a read has come to a cursor.
func (s *subscription) moved(to Cursor) {
	s.cursor = to
	if began := s.began; began.Seq > to.Seq {
		s.beginning = &beginning{began: began}
	} else {
		s.beginning = &begun
	}
}

// behind reports whether there may be something for the subscription that a
// shard at position end will not visit: in the log, or its opening. A loss
// clock is left behind by reading to the end of the log.
func (s *subscription) behind(end ID) bool {
	return s.cursor.Epoch == 0 || s.cursor.Seq < end.Seq || s.cursor.Told != 0 || s.ended.Seq != 0 || s.opening != nil || s.lost
}

// Subscribe adds a selection, or replaces the one of the same name. Events
// that were published after its Start was resolved will be sent.
func (sub *Subscriber) Subscribe(sel Selection) {
	sub.shard.hub.count(sel.Patterns, 1)
	sub.shard.post(command{kind: cmdSubscribe, sub: sub, subscription: new(newSubscription(sub, sel))})
}

// Unsubscribe removes the selection of that name, and returns when no batch
// that may hold events of it is on its way: when the sink has written what it
// kept, and the selection's Opening, or the subscriber is closed.
func (sub *Subscriber) Unsubscribe(name string) {
	sub.await(command{kind: cmdUnsubscribe, sub: sub, name: name})
}

// Writable says that the sink has written what it kept.
func (sub *Subscriber) Writable() {
	sub.shard.post(command{kind: cmdWritable, sub: sub})
}

// Leave removes the subscriber. Its sink may be called until Leave has taken
// effect, so it must bear that. Either Leave or Close must be called, once.
// Leave may be called from within Send.
func (sub *Subscriber) Leave() {
	sub.shard.post(command{kind: cmdClose, sub: sub})
}

// Close is Leave, and returns when the sink will not be called again.
func (sub *Subscriber) Close() {
	sub.await(command{kind: cmdClose, sub: sub})
}

// await posts a command and waits until it has taken effect.
func (sub *Subscriber) await(c command) {
	c.done = make(chan struct{})
	sub.shard.post(c)
	select {
	case <-c.done:
	case <-sub.shard.hub.stopped:
	}
}

// answer lets the Unsubscribe calls return.
func (sub *Subscriber) answer() {
	if sub.awaiting == nil {
		return // it may be everybody's
	}
	for _, done := range sub.awaiting {
		close(done)
	}
	sub.awaiting = nil
}
