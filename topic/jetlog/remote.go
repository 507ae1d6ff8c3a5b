package jetlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
)

const (
	// confirmEvery is how often a node asks the stream for its end. What comes
	// is republished to it at once, unless a message is lost on the way.
	confirmEvery = time.Second
	// askPatience is how long the server may take to answer that.
	askPatience = 2 * time.Second
	// ackPatience is how long it may take to answer an append, before that is
	// sent once more. It does no harm to do so early.
	ackPatience = 500 * time.Millisecond
	// catchUpPatience is how long a cursor that lies ahead of this node waits
	// for the node, whoever has brought it.
	catchUpPatience = 2 * time.Second
	// rollbackPatience is how long the stream may seem to end before what this
	// node has seen of it: a server that starts may not know its end yet.
	rollbackPatience = 30 * time.Second
	// pauseMost is between two attempts while there is no server.
	pauseMost = 100 * time.Millisecond

	// skewMost is how far the clock of a node may be from that of the server:
	// what it appends says for all nodes what is over age.
	skewMost = 30 * time.Second

	freshMessages = 4096 // republished ones that wait; those beyond are fetched

	errCodeWrongLast     = 10071
	errCodeTooLarge      = 10054
	errCodeNoCluster     = 10074 // replicas of a server that is alone
	headerExpectedLast   = "Nats-Expected-Last-Sequence"
	headerExpectedStream = "Nats-Expected-Stream"
	headerSequence       = "Nats-Sequence"
)

// ErrUnavailable says that the external NATS server, or its stream, does not
// answer, or lets nobody in. What was to be appended may or may not be stored; with a key, it can
// be appended again. It passes when the server is back.
var ErrUnavailable error = &unavailable{"jetlog: NATS cannot be used"}

// remote follows a stream that other nodes write to, and writes to it.
type remote struct {
	log      *Log
	stream   *stream
	subjects string        // what they all begin with
	patience time.Duration // of appends
	rollback time.Duration // until an end that was lost counts as lost
	fresh    chan *nats.Msg
	line     *line
	leaving  chan struct{} // closed when no append shall wait any longer
	once     sync.Once

	mu        sync.Mutex
	changed   chan struct{} // closed when what follows changes, or a message was applied
	asked     uint64        // rounds of confirm that have begun
	answered  uint64        // the newest of them that has ended well
	confirmed time.Time     // when it did
	trouble   error         // why later ones have not; nil if there are none
	wanted    uint64        // the id of the message that is being published
	arrived   bool          // it is part of the log
	known     uint64        // the newest message of which that is decided, and the watcher told
	yieldFrom uint64        // who publishes gives way to another node until there is a message after this one,
	yieldTo   time.Time     // or until then
	moved     time.Time     // when another server was looked for

	settling settling

	// Of the one who publishes.
	node   uint64        // names this node to the others
	losses int           // how often in a row another node came first
	took   time.Duration // how long the server has taken to answer last

	// Of the follower.
	behindSince time.Time // since when the stream ends before what was seen of it; zero if it does not
}

func newRemote(l *Log, s *stream, subjects string, node uint64, n NATS, way *line) *remote {
	return &remote{
		log:       l,
		stream:    s,
		subjects:  subjects,
		patience:  n.Patience,
		rollback:  n.rollbackPatience,
		fresh:     make(chan *nats.Msg, freshMessages),
		line:      way,
		leaving:   make(chan struct{}),
		changed:   make(chan struct{}),
		settling:  settling{wake: make(chan struct{}, 1)},
		node:      node,
		confirmed: time.Now(),
	}
}

func (r *remote) leave() { r.once.Do(func() { close(r.leaving) }) }

const (
	// fewMessages are asked for one by one.
	fewMessages = 4
	// leadersMessages are asked for in this way, if the other one fails.
	leadersMessages = 64
)

// fetch gets some messages that are there. Many at a time come from any server
// that has a copy, one by one from the leader. The latter is slower, but the
// former may be gone, which the others do not know yet, or have less.
//
// A *missingError says that a message is gone for good.
func (r *remote) fetch(ctx context.Context, from, last uint64) scanned {
	var some scanned
	if last-from >= fewMessages {
		some = r.stream.fetch(ctx, from)
		consecutive := 0
		for consecutive < len(some.numbers) && some.numbers[consecutive] == from+uint64(consecutive) {
			consecutive++
		}
		if some.err == nil && consecutive > 0 {
			some.messages, some.numbers = some.messages[:consecutive], some.numbers[:consecutive]
			return some
		}
	}
	some = scanned{}
	for number := from; number <= last && number-from < leadersMessages; number++ {
		asking, cancel := context.WithTimeout(ctx, askPatience)
		b, at, err := r.stream.next(asking, number)
		cancel()
		if err == nil && at != number {
			err = &missingError{number}
		}
		if err != nil {
			some.err = err
			break
		}
		some.messages = append(some.messages, &nats.Msg{Data: b})
		some.numbers = append(some.numbers, number)
	}
	return some
}

// A line is what a follower is told of its connection.
type line struct {
	wake   chan struct{} // has room for one
	mu     sync.Mutex
	cancel context.CancelFunc // of what is being asked; guarded by mu
}

// kick has the follower ask for the stream's end.
func (l *line) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// lost has the follower wait no longer for answers that will not come.
func (l *line) lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
	}
}

// asking gives the context of something that is asked; cancel must be called.
func (l *line) asking(ctx context.Context) (context.Context, context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, l.cancel = context.WithCancel(ctx)
	return ctx, l.cancel
}

// change lets f change the state, and wakes those who wait for it.
func (r *remote) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

// await waits until ok, which is called with mu held, the timeout, or done.
func (r *remote) await(timeout time.Duration, done <-chan struct{}, ok func() bool) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		r.mu.Lock()
		holds, changed := ok(), r.changed
		r.mu.Unlock()
		if holds {
			return true
		}
		select {
		case <-changed:
		case <-done:
			return false
		case <-timer.C:
			return false
		case <-r.leaving:
			return false
		}
	}
}

// unavailable returns an error if the stream was not heard of for that long,
// and there was trouble.
func (r *remote) unavailable(long time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trouble == nil || time.Since(r.confirmed) < long {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, r.trouble)
}

var errCatchUp = fmt.Errorf("%w in %v", ErrUnavailable, catchUpPatience)

// catchUp returns when this node has come as far as the stream was when it was
// called.
func (r *remote) catchUp(ctx context.Context) error {
	if err := cmp.Or(r.log.isFailed(), r.unavailable(catchUpPatience)); err != nil {
		return err
	}
	r.mu.Lock()
	round := r.asked + 1
	r.mu.Unlock()
	r.line.kick()
	if r.await(catchUpPatience, ctx.Done(), func() bool { return r.answered >= round }) {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return cmp.Or(r.log.Ready(), errCatchUp)
}

// follow makes what comes part of the log. Ends when closing is closed, or with
// the log's failure. Joined by Close.
func (r *remote) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan struct{})
	r.log.wg.Go(func() { // ends with this, or makes it end; joined by Close
		select {
		case <-r.log.closing:
		case <-stop:
		}
		cancel()
	})
	defer close(stop)
	ticker := time.NewTicker(confirmEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		var err error
		select {
		case m := <-r.fresh:
			number, _ := strconv.ParseUint(m.Header.Get(headerSequence), 10, 64)
			if err = r.log.follow(number, m.Data); errors.Is(err, errHole) {
				err = r.confirm(ctx)
			}
		case <-ticker.C:
			err = r.confirm(ctx)
		case <-r.line.wake:
			err = r.confirm(ctx)
		case <-ctx.Done():
		}
		if err != nil {
			if errors.Is(err, index.ErrDiverged) {
				err = errors.Join(err, r.beginEpoch(ctx))
			}
			r.log.fail(err)
			r.change(func() {})
			return
		}
	}
}

// confirm fetches what is missing, up to the stream's end. Its error is one
// that does not pass.
func (r *remote) confirm(ctx context.Context) error {
	r.mu.Lock()
	r.asked++
	round := r.asked
	r.mu.Unlock()
	err := r.fetchMissing(ctx)
	switch {
	case errors.Is(err, errFatal):
		return err
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		err = errors.New("no connection") // which keeps nothing for later
	}
	now := time.Now()
	var confirmed time.Time
	r.change(func() {
		if err == nil {
			r.answered, r.confirmed = round, now
		}
		r.trouble, confirmed = err, r.confirmed
	})
	if now.Sub(confirmed) > moveAfter && !errors.Is(err, errClock) {
		r.move()
	}
	return nil
}

// move goes on with another server, but not again and again.
func (r *remote) move() {
	r.mu.Lock()
	now := time.Now()
	late := now.Sub(r.moved) > moveAfter
	if late {
		r.moved = now
	}
	r.mu.Unlock()
	if late {
		r.stream.move()
	}
}

// errFatal says that this node cannot follow the stream any more.
var errFatal = errors.New("cannot be followed")

func (r *remote) fetchMissing(ctx context.Context) error {
	seen := r.log.messages() // before the stream is asked
	ctx, stop := r.line.asking(ctx)
	defer stop()
	asking, cancel := context.WithTimeout(ctx, askPatience)
	state, err := r.stream.state(asking)
	cancel()
	if err != nil {
		return err
	}
	if state.last < seen {
		if r.behindSince.IsZero() {
			r.behindSince = time.Now()
		}
		if time.Since(r.behindSince) > r.rollback {
			return fmt.Errorf("stream %s ends with message %d, and had %d: %w %w", r.stream.name, state.last, seen, index.ErrDiverged, errFatal)
		}
		return fmt.Errorf("stream %s ends with message %d, and had %d", r.stream.name, state.last, seen)
	}
	r.behindSince = time.Time{}
	for at := r.log.messages(); at < state.last; {
		if at+1 < state.first {
			return fmt.Errorf("stream %s begins with message %d, and this node had come to %d: %w", r.stream.name, state.first, at, errFatal)
		}
		some := r.fetch(ctx, at+1, state.last)
		if missing, ok := errors.AsType[*missingError](some.err); ok {
			return fmt.Errorf("stream %s has no message %d any more: %w", r.stream.name, missing.number, errFatal)
		}
		if len(some.messages) == 0 {
			return some.err
		}
		for i, m := range some.messages {
			if err := r.log.follow(some.numbers[i], m.Data); err != nil {
				return fmt.Errorf("%w %w", err, errFatal)
			}
		}
		if at == r.log.messages() {
			return fmt.Errorf("stream %s has come to %d, and message %d is not to be had", r.stream.name, state.last, at+1)
		}
		at = r.log.messages()
	}
	return checkClock(time.Now(), state.at)
}

// errClock is no fault of a server.
var errClock = errors.New("the clocks of this machine and of the server differ")

// checkClock refuses a clock that is too far from the server's.
func checkClock(now, server time.Time) error {
	if skew := now.Sub(server); skew.Abs() > skewMost {
		return fmt.Errorf("%w by %v", errClock, skew)
	}
	return nil
}

// has reports whether the stream has a message that was not found. If it has, it
// gives the servers time.
func (r *remote) has(ctx context.Context, number uint64) (bool, error) {
	asking, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	_, at, err := r.stream.next(asking, number)
	if err != nil { // also if there is nothing after it, where there must be: who says that has not kept up
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if at == number {
		r.await(pauseMost, ctx.Done(), func() bool { return false })
	}
	return at == number, nil
}
