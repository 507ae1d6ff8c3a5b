package jetlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/duplexhq/duplex/topic"
)

const (
	// confirmEvery is how often a node asks the stream for its end. What comes
	// is republished to it at once, unless a message is lost on the way.
	confirmEvery = time.Second
	// askPatience is how long the server may take to answer that, or an append,
	// before it is asked again.
	askPatience = 2 * time.Second
	// catchUpPatience is how long a cursor that lies ahead of this node waits
	// for the node.
	catchUpPatience = 5 * time.Second
	// rollbackPatience is how long the stream may seem to end before what this
	// node has seen of it: a server that starts may not know its end yet.
	rollbackPatience = 30 * time.Second
	// pauseMost is between two attempts while there is no server.
	pauseMost = 100 * time.Millisecond

	freshMessages = 4096 // republished ones that wait; those beyond are fetched

	errCodeWrongLast  = 10071
	errCodeTooLarge   = 10054
	headerWrongLast   = "Nats-Expected-Last-Sequence"
	headerStreamsOwn  = "Nats-Expected-Stream"
	headerItsSequence = "Nats-Sequence"
)

// ErrUnavailable says that the external NATS server, or its stream, does not
// answer. What was to be appended may or may not be stored; with a key, it can
// be appended again. It passes when the server is back.
var ErrUnavailable = errors.New("jetlog: the NATS server does not answer")

// remote follows a stream that other nodes write to, and writes to it.
type remote struct {
	log      *Log
	stream   *stream
	subject  string
	patience time.Duration // of appends
	fresh    chan *nats.Msg
	wake     chan struct{} // has room for one
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

	// Of the follower.
	behindSince time.Time // since when the stream ends before what was seen of it; zero if it does not
}

func newRemote(l *Log, s *stream, subject string, patience time.Duration, wake chan struct{}) *remote {
	return &remote{
		log:       l,
		stream:    s,
		subject:   subject,
		patience:  patience,
		fresh:     make(chan *nats.Msg, freshMessages),
		wake:      wake,
		leaving:   make(chan struct{}),
		changed:   make(chan struct{}),
		confirmed: time.Now(),
	}
}

func (r *remote) leave() { r.once.Do(func() { close(r.leaving) }) }

// kick has a follower ask for the stream's end.
func kick(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// change lets f change the state, and wakes those who wait for it.
func (r *remote) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

// await waits until ok, which is called with mu held, or the timeout.
func (r *remote) await(timeout time.Duration, ok func() bool) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		r.mu.Lock()
		done, changed := ok(), r.changed
		r.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
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

// catchUp returns when this node has come as far as the stream was when it was
// called.
func (r *remote) catchUp() error {
	r.mu.Lock()
	round := r.asked + 1
	r.mu.Unlock()
	kick(r.wake)
	if r.await(catchUpPatience, func() bool { return r.answered >= round }) {
		return nil
	}
	if err := r.log.Ready(); err != nil {
		return err
	}
	return fmt.Errorf("%w in %v", ErrUnavailable, catchUpPatience)
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
			number, _ := strconv.ParseUint(m.Header.Get(headerItsSequence), 10, 64)
			if err = r.log.follow(number, m.Data); errors.Is(err, errHole) {
				err = r.confirm(ctx)
			}
		case <-ticker.C:
			err = r.confirm(ctx)
		case <-r.wake:
			err = r.confirm(ctx)
		case <-ctx.Done():
		}
		if err != nil {
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
	if errors.Is(err, errFatal) {
		return err
	}
	r.change(func() {
		if err == nil {
			r.answered, r.confirmed = round, time.Now()
		}
		r.trouble = err
	})
	return nil
}

// errFatal says that this node cannot follow the stream any more.
var errFatal = errors.New("cannot be followed")

func (r *remote) fetchMissing(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, askPatience)
	state, err := r.stream.state(asking)
	cancel()
	if err != nil {
		return err
	}
	at := r.log.messages()
	if state.last < at {
		if r.behindSince.IsZero() {
			r.behindSince = time.Now()
		}
		if time.Since(r.behindSince) > rollbackPatience {
			return fmt.Errorf("stream %s ends with message %d, and had %d: %w %w", r.stream.name, state.last, at, errDiverged, errFatal)
		}
		return fmt.Errorf("stream %s ends with message %d, and had %d", r.stream.name, state.last, at)
	}
	r.behindSince = time.Time{}
	for at < state.last {
		if at+1 < state.first {
			return fmt.Errorf("stream %s begins with message %d, and this node had come to %d: %w", r.stream.name, state.first, at, errFatal)
		}
		asking, cancel := context.WithTimeout(ctx, askPatience)
		some := r.stream.fetch(asking, at+1)
		cancel()
		if _, missing := errors.AsType[*missingError](some.err); missing {
			some.err = nil // of a server that does not have it yet
		}
		if some.err != nil {
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
	return nil
}

// publish stores a message after the one with the number, and reports whether
// it is part of the log. If it is not, another one came first, and is.
func (r *remote) publish(after, id uint64, message []byte) (stored bool, err error) {
	r.mu.Lock()
	r.wanted, r.arrived = id, false
	r.mu.Unlock()
	request := nats.NewMsg(r.subject)
	request.Data = message
	request.Header.Set(headerWrongLast, strconv.FormatUint(after, 10))
	request.Header.Set(headerStreamsOwn, r.stream.name)
	deadline := time.Now().Add(r.patience)
	// outcome is known once the stream has a message at the next number.
	outcome := func(wait time.Duration) bool {
		return r.await(wait, func() bool { return r.log.messages() > after }) // locks log.mu within mu, as nobody does the other way round
	}
	for attempt, doubt := 0, false; ; attempt++ {
		reply, err := r.stream.writes.RequestMsg(request, askPatience)
		if err == nil {
			var number uint64
			number, err = readAck(reply.Data)
			refused, isRefused := errors.AsType[*jetstream.APIError](err)
			switch {
			case err == nil && number == after+1:
				if err := r.log.follow(number, message); err != nil && !errors.Is(err, errHole) {
					return false, r.log.fail(err)
				}
			case err == nil: // it does not count there
			case isRefused && refused.ErrorCode == errCodeTooLarge:
				return false, fmt.Errorf("%w: %w", errNotStored, err)
			case isRefused && refused.ErrorCode != errCodeWrongLast && !doubt:
				return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		} else if errors.Is(err, nats.ErrMaxPayload) {
			return false, fmt.Errorf("%w: %d bytes, the server takes %d", errNotStored, len(message), r.stream.writes.MaxPayload())
		} else {
			doubt = true
		}
		if r.log.messages() <= after {
			kick(r.wake)
		}
		if outcome(min(pauseMost, 5*time.Millisecond<<min(attempt, 10))) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.arrived, nil
		}
		switch {
		case r.log.isFailed() != nil:
			return false, r.log.isFailed()
		case isDone(r.leaving):
			return false, topic.ErrClosed
		case time.Now().After(deadline) || r.unavailable(r.patience) != nil:
			if err == nil {
				err = fmt.Errorf("no message %d", after+1)
			}
			return false, fmt.Errorf("%w in %v: %w", ErrUnavailable, r.patience, err)
		}
	}
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// readAck reads a publish acknowledgement.
func readAck(ack []byte) (uint64, error) {
	var answer struct {
		Error *jetstream.APIError
		Seq   uint64
	}
	if err := json.Unmarshal(ack, &answer); err != nil {
		return 0, fmt.Errorf("jetlog: acknowledgement %q: %w", ack, err)
	}
	if answer.Error != nil {
		return 0, answer.Error
	}
	return answer.Seq, nil
}
