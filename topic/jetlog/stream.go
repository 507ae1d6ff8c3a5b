package jetlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// patience is how long the server may take to answer. A disk may stall for
	// seconds; who publishes has a context of its own.
	patience = 30 * time.Second
	// troublePatience is the same once the server has logged an error.
	troublePatience = time.Second

	loadWindow   = 64 // messages that one load waits for at a time
	loadsAtOnce  = 8
	scanMessages = 2048
	scanBytes    = 8 << 20
)

// stream is a store on a stream of JetStream. It publishes on one connection
// and reads on another, so that no page stands in the way of an
// acknowledgement.
type stream struct {
	name     string
	handle   jetstream.Stream
	patience time.Duration // for the next answer to what is read
	asks     int           // how often something is asked for that is not answered in that time

	connections

	// Of the one who publishes.
	acks     chan *nats.Msg
	ackInbox string
	attempt  uint64
	last     uint64 // the newest message, as far as it was acknowledged
	waiting  *wait
	plainAck []byte // how an acknowledgement begins

	getInbox string
	getsOf   string // the subject of direct gets
	loading  chan struct{}
	mu       sync.Mutex
	loads    map[uint64]chan *nats.Msg // guarded by mu
	nextLoad uint64                    // guarded by mu
}

// openStream makes the stream if it is not there.
func openStream(ctx context.Context, c connections, config jetstream.StreamConfig) (*stream, error) {
	handle, err := c.js.Stream(ctx, config.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		handle, err = c.js.CreateStream(ctx, config)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", config.Name, err)
	}
	s := &stream{
		name:     config.Name,
		handle:   handle,
		patience: patience,
		asks:     1,
		last:     handle.CachedInfo().State.LastSeq,

		connections: c,
		ackInbox:    nats.NewInbox() + ".",
		getInbox:    nats.NewInbox() + ".",
		acks:        make(chan *nats.Msg, 16),
		waiting:     newWait(patience),
		plainAck:    []byte(`{"stream":"` + config.Name + `","seq":`),
		getsOf:      "$JS.API.DIRECT.GET." + config.Name,
		loading:     make(chan struct{}, loadsAtOnce),
		loads:       make(map[uint64]chan *nats.Msg),
	}
	if _, err := c.writes.ChanSubscribe(s.ackInbox+"*", s.acks); err != nil {
		return nil, err
	}
	sub, err := c.reads.Subscribe(s.getInbox+"*.*", s.got)
	if err != nil {
		return nil, err
	}
	return s, sub.SetPendingLimits(-1, -1) // loads are bounded
}

func (s *stream) publish(subject string, message []byte) (uint64, error) {
	s.attempt++
	reply := s.ackInbox + strconv.FormatUint(s.attempt, 36)
	select {
	case <-s.trouble: // of before
	default:
	}
	if err := s.writes.PublishRequest(subject, reply, message); err != nil {
		if errors.Is(err, nats.ErrMaxPayload) {
			err = fmt.Errorf("%w: %d bytes, the server takes %d", errNotStored, len(message), s.writes.MaxPayload())
		}
		return 0, err
	}
	s.waiting.reset(patience)
	var why error
	for {
		select {
		case <-s.trouble:
			why = s.why()
			s.waiting.reset(troublePatience)
		case m := <-s.acks:
			if m.Subject != reply {
				continue // of an attempt that was given up
			}
			seq, err := s.acknowledged(m.Data)
			if err != nil {
				return 0, err
			}
			if s.last++; s.last != seq {
				return 0, fmt.Errorf("jetlog: message %d of stream %s was to be %d: somebody else writes to it", seq, s.name, s.last)
			}
			return seq, nil
		case <-s.waiting.timer.C:
			if !s.waiting.over() {
				continue
			}
			if why != nil {
				return 0, fmt.Errorf("jetlog: no acknowledgement from stream %s: %w", s.name, why)
			}
			return 0, fmt.Errorf("jetlog: no acknowledgement from stream %s in %v", s.name, patience)
		case <-s.closed:
			return 0, errors.New("jetlog: the connection to the server has ended")
		}
	}
}

// acknowledged reads the acknowledgement of a message that nobody else could
// overtake.
func (s *stream) acknowledged(ack []byte) (uint64, error) {
	if rest, ok := bytes.CutPrefix(ack, s.plainAck); ok {
		if digits, ok := bytes.CutSuffix(rest, []byte("}")); ok {
			if seq, err := strconv.ParseUint(string(digits), 10, 64); err == nil {
				return seq, nil
			}
		}
	}
	seq, err := readAck(ack)
	if refused, ok := errors.AsType[*jetstream.APIError](err); ok {
		err = s.refused(refused)
	}
	return seq, err
}

// readAck reads an acknowledgement. What the server refuses is a
// *jetstream.APIError.
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

// refused tells whether an error has left the stream as it was: an
// acknowledgement comes after what it is of.
func (s *stream) refused(why *jetstream.APIError) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	state, err := s.state(ctx)
	if err != nil {
		return fmt.Errorf("%w, and then: %w", why, err)
	}
	if state.last != s.last {
		return fmt.Errorf("jetlog: stream %s has moved from %d to %d, although: %w", s.name, s.last, state.last, why)
	}
	return fmt.Errorf("%w: %w", errNotStored, why)
}

// got hands an answer to the load that waits for it.
func (s *stream) got(m *nats.Msg) {
	load, _, _ := strings.Cut(m.Subject[len(s.getInbox):], ".")
	id, _ := strconv.ParseUint(load, 36, 64)
	s.mu.Lock()
	answers := s.loads[id]
	s.mu.Unlock()
	if answers != nil {
		answers <- m // has room for one answer to each question
	}
}

func (s *stream) load(ctx context.Context, numbers []uint64, f func(uint64, []byte) error) error {
	select {
	case s.loading <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.loading }()
	inbox, answers, done := s.question(s.asks * len(numbers))
	defer done()
	ask := func(i int) error {
		reply := inbox + strconv.Itoa(i)
		request := append(make([]byte, 0, 48), `{"no_hdr":true,"seq":`...)
		request = append(strconv.AppendUint(request, numbers[i], 10), '}')
		return s.reads.PublishRequest(s.getsOf, reply, request)
	}
	waiting := newWait(s.patience)
	defer waiting.stop()
	asked, answered, asks := 0, 0, 1
	var given []bool // which are answered, if some were asked for more than once
	for answered < len(numbers) {
		for asked < len(numbers) && asked-answered < loadWindow {
			if err := ask(asked); err != nil {
				return err
			}
			asked++
		}
		select {
		case m := <-answers:
			waiting.reset(s.patience)
			i, err := strconv.Atoi(m.Subject[len(inbox):])
			if err != nil || i >= len(numbers) {
				return fmt.Errorf("jetlog: answer to %q", m.Subject)
			}
			if s.asks > 1 {
				if given == nil {
					given = make([]bool, len(numbers))
				}
				if given[i] {
					continue
				}
				given[i] = true
			}
			answered++
			if err := answerError(m, numbers[i]); err != nil {
				return err
			}
			if err := f(numbers[i], m.Data); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-waiting.timer.C:
			if !waiting.over() {
				continue
			}
			if asks == s.asks {
				return fmt.Errorf("jetlog: no answer from stream %s in %v", s.name, s.patience)
			}
			// The server that was asked may be gone, and others not know it yet.
			asks++
			waiting.reset(s.patience)
			for i := range asked {
				if given != nil && given[i] {
					continue
				}
				if err := ask(i); err != nil {
					return err
				}
			}
		case <-s.closed:
			return errors.New("jetlog: the connection to the server has ended")
		}
	}
	return nil
}

// question makes a place for answers.
func (s *stream) question(most int) (inbox string, answers chan *nats.Msg, done func()) {
	answers = make(chan *nats.Msg, most)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextLoad++
	id := s.nextLoad
	s.loads[id] = answers
	return s.getInbox + strconv.FormatUint(id, 36) + ".", answers, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.loads, id)
	}
}

const (
	statusNotFound = "404"
	statusEnd      = "204" // of the answers to a request for many
)

// answerError returns what is wrong with the answer to a direct get.
func answerError(m *nats.Msg, number uint64) error {
	switch status := m.Header.Get("Status"); status {
	case "":
		return nil
	case statusNotFound:
		return &missingError{number}
	default:
		return fmt.Errorf("jetlog: the server answers %s %s", status, m.Header.Get("Description"))
	}
}

func (s *stream) scan(ctx context.Context, from uint64, f func(uint64, []byte) error) error {
	state, err := s.state(ctx)
	if err != nil {
		return err
	}
	from = max(from, state.first)
	if from > state.last {
		return nil
	}
	fetched := make(chan scanned)
	ctx, cancel := context.WithCancel(ctx)
	var fetching sync.WaitGroup
	defer fetching.Wait()
	defer cancel()
	// Asks for the next messages while f looks at these. Ends after the last
	// ones, an error, or cancel. Joined above.
	fetching.Go(func() {
		defer close(fetched)
		for next := from; next <= state.last; {
			some := s.fetch(ctx, next)
			next = some.next
			select {
			case fetched <- some:
			case <-ctx.Done():
				return
			}
			if some.err != nil {
				return
			}
		}
	})
	for some := range fetched {
		if some.err != nil {
			return some.err
		}
		for i, m := range some.messages {
			if some.numbers[i] > state.last {
				return nil
			}
			if err := f(some.numbers[i], m.Data); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// scanned are consecutive messages.
type scanned struct {
	messages []*nats.Msg
	numbers  []uint64
	next     uint64 // where to go on
	err      error
}

// fetch gets messages from the number on, at least one if there is any.
func (s *stream) fetch(ctx context.Context, from uint64) scanned {
	some := s.fetchMany(ctx, from, true)
	if some.err == nil && some.next != from+uint64(len(some.messages)) {
		return s.fetchMany(ctx, from, false) // some are missing: have them say who they are
	}
	return some
}

func (s *stream) fetchMany(ctx context.Context, from uint64, bare bool) scanned {
	inbox, answers, done := s.question(scanMessages + 1)
	defer done()
	request := fmt.Sprintf(`{"seq":%d,"batch":%d,"max_bytes":%d,"no_hdr":%v}`, from, scanMessages, scanBytes, bare)
	if err := s.reads.PublishRequest(s.getsOf, inbox+"0", []byte(request)); err != nil {
		return scanned{err: err}
	}
	some := scanned{messages: make([]*nats.Msg, 0, scanMessages), numbers: make([]uint64, 0, scanMessages)}
	waiting := newWait(s.patience)
	defer waiting.stop()
	for {
		select {
		case m := <-answers:
			waiting.reset(s.patience)
			switch {
			case m.Header.Get("Status") == statusEnd:
				last, err := strconv.ParseUint(m.Header.Get("Nats-Last-Sequence"), 10, 64)
				return scanned{some.messages, some.numbers, last + 1, err}
			case answerError(m, from) != nil:
				return scanned{err: answerError(m, from)}
			}
			number := from + uint64(len(some.messages))
			if !bare {
				var err error
				if number, err = strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64); err != nil {
					return scanned{err: err}
				}
			}
			some.messages = append(some.messages, m)
			some.numbers = append(some.numbers, number)
		case <-ctx.Done():
			return scanned{err: context.Cause(ctx)}
		case <-waiting.timer.C:
			if !waiting.over() {
				continue
			}
			return scanned{err: fmt.Errorf("jetlog: no answer from stream %s in %v", s.name, s.patience)}
		case <-s.closed:
			return scanned{err: errors.New("jetlog: the connection to the server has ended")}
		}
	}
}

func (s *stream) purge(ctx context.Context, before uint64) error {
	return s.handle.Purge(ctx, jetstream.WithPurgeSequence(before))
}

func (s *stream) state(ctx context.Context) (storeState, error) {
	info, err := s.handle.Info(ctx)
	if err != nil {
		return storeState{}, fmt.Errorf("stream %s: %w", s.name, err)
	}
	return storeState{first: max(1, info.State.FirstSeq), last: info.State.LastSeq, bytes: info.State.Bytes, at: info.TimeStamp}, nil
}

// next gets the message with the number from the leader of a stream, or the
// first one after it if that is gone. All of the answer is what one server has,
// even if that is no longer the leader and does not know: a message that it
// lacks, but not those after it, is gone for good.
func (s *stream) next(ctx context.Context, number uint64) (message []byte, at uint64, err error) {
	reply, err := s.reads.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+s.name, fmt.Appendf(nil, `{"seq":%d,"next_by_subj":">"}`, number))
	if err != nil {
		return nil, 0, err
	}
	var answer struct {
		Error   *jetstream.APIError
		Message struct {
			Seq  uint64
			Data []byte
		}
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return nil, 0, err
	}
	if answer.Error != nil {
		return nil, 0, answer.Error
	}
	return answer.Message.Data, answer.Message.Seq, nil
}
