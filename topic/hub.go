package topic

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// HubOptions configure a [Hub]. The zero value is good.
type HubOptions struct {
	// Shards is the number of goroutines that visit subscribers. If zero,
	// GOMAXPROCS is used.
	Shards int
	// Readers is the number of goroutines that read the log for subscribers
	// that lag. If zero, twice GOMAXPROCS is used, at least 4.
	Readers int
	// Ping is the interval of $ping. If zero, 25 s are used; if negative,
	// there is only the first one.
	Ping time.Duration
	// MaxLagBytes and MaxLagTime bound how far a subscriber may lag on topics
	// that it is to be given everything of (SlowResume): the data of the events
	// that it lacks, and how long ago the log took the oldest of them (while it
	// is given them in parts: the last one of the part before). Beyond them it
	// is ended with ErrTooSlow. A replay from the cursor of a Start up
	// to the present may take as long as it likes. If zero, there is no bound.
	MaxLagBytes int64
	MaxLagTime  time.Duration
	// Yield lets other goroutines run. Shards call it at the same time, each
	// when it has worked for long, and once it has returned they go on. If nil,
	// it is runtime.Gosched, which leaves who waits for the network waiting
	// while there is anybody else.
	Yield func()
}

// DefaultPing is the interval of $ping unless configured: most proxies cut
// what is silent for 30 s or more.
const DefaultPing = 25 * time.Second

// A Hub brings the events of a log to subscribers. Its methods may be called
// at the same time.
type Hub struct {
	log      Log
	tail     tail
	shards   []*shard
	turnOf   atomic.Uint64 // the shard of the next subscriber
	catchUps catchUps
	rules    *Rules // the log's
	interval time.Duration
	yield    func()
	pingData []byte
	maxLag   lagBounds
	keys     keysInProgress

	// The log's watcher writes these, for each batch.
	_         [64]byte
	published atomic.Uint64
	rates     rates
	_         [64]byte

	countMu sync.Mutex
	counts  map[string]int // literal subscriptions by topic; guarded by countMu

	closeOnce sync.Once
	stop      context.CancelFunc // of reads
	workers   sync.WaitGroup
	closing   chan struct{}  // the workers have ended, the shards shall
	running   sync.WaitGroup // shards
	stopped   chan struct{}  // everything has ended
}

// NewHub starts a hub on the log and becomes its watcher. opts may be nil.
// Close must be called; it does not close the log.
func NewHub(log Log, opts *HubOptions) *Hub {
	var o HubOptions
	if opts != nil {
		o = *opts
	}
	if o.Shards <= 0 {
		o.Shards = runtime.GOMAXPROCS(0)
	}
	if o.Readers <= 0 {
		o.Readers = max(4, 2*runtime.GOMAXPROCS(0))
	}
	if o.Ping == 0 {
		o.Ping = DefaultPing
	}
	if o.Yield == nil {
		o.Yield = runtime.Gosched
	}
	ctx, stop := context.WithCancel(context.Background())
	h := &Hub{
		log:      log,
		rules:    log.Rules(),
		interval: o.Ping,
		yield:    o.Yield,
		maxLag:   lagBounds{o.MaxLagBytes, o.MaxLagTime},
		pingData: pingData(max(o.Ping, 0)),
		counts:   make(map[string]int),
		closing:  make(chan struct{}),
		stop:     stop,
		stopped:  make(chan struct{}),
	}
	h.catchUps.filled.L = &h.catchUps.mu
	h.tail.rules = h.rules
	for range o.Shards {
		h.shards = append(h.shards, newShard(h))
	}
	h.tail.mu.Lock() // until the end is known, nothing is pushed
	h.tail.end = log.Watch(h.appended)
	h.tail.mu.Unlock()
	for _, s := range h.shards {
		h.running.Go(s.run)
	}
	for range o.Readers {
		h.workers.Go(func() { h.work(ctx) })
	}
	return h
}

// appended is the log's watcher.
func (h *Hub) appended(entries []*Entry) {
	if entries == nil {
		h.tail.reset(h.log.End())
	} else {
		h.published.Add(uint64(len(entries)))
		h.rates.add(entries)
		h.tail.push(entries)
	}
	for _, s := range h.shards {
		if s.active.Load() {
			s.rouse()
		}
	}
}

// Drain ends the subscribers with ErrClosed: at once, or when their sink has
// written what it keeps. Those who come later are ended at once. It does not
// wait, and publishing goes on.
func (h *Hub) Drain() {
	for _, s := range h.shards {
		s.post(command{kind: cmdDrain})
	}
}

// Close ends the subscribers with ErrClosed, but for those whose sink keeps a
// batch, and waits until no sink is being called. Call it when nothing
// subscribes any more.
func (h *Hub) Close() {
	h.closeOnce.Do(func() {
		h.stop()
		h.catchUps.close()
		h.workers.Wait()
		close(h.closing)
		h.running.Wait()
		close(h.stopped)
	})
	<-h.stopped
}

// Log returns the log that the hub reads.
func (h *Hub) Log() Log { return h.log }

// Publish appends the drafts to the topic as one batch and returns the id of
// the first; the others follow it by one each. Errors are those of
// [CheckName], [CheckType] and [Log.Append]. The first publish of a key that
// is still in progress is waited for; if that takes too long,
// ErrKeyInProgress.
func (h *Hub) Publish(ctx context.Context, topic string, drafts []Draft, key Key) (ID, error) {
	if err := CheckName(topic); err != nil {
		return ID{}, err
	}
	for i := range drafts {
		if drafts[i].IsEnd() {
			continue
		}
		if err := CheckType(drafts[i].Type); err != nil {
			return ID{}, err
		}
	}
	if key.Value != "" {
		release, err := h.keys.acquire(ctx, topic, key.Value)
		if err != nil {
			return ID{}, err
		}
		defer release()
	}
	return h.log.Append(ctx, topic, drafts, key)
}

// Now is the start of a subscription that wants only what comes: whatever is
// published after Now has returned will be sent.
func (h *Hub) Now() Start { return Start{Cursor: Cursor{ID: h.log.End()}} }

// Earliest is the start of a subscription that wants all that is left.
func (h *Hub) Earliest(ctx context.Context, patterns []Pattern) (Start, error) {
	began := h.log.End()
	c, err := h.log.Earliest(ctx, patterns)
	return Start{Cursor: c, began: began}, err
}

// After is the start of a subscription that resumes. A text that is no cursor
// of this log is one that has a gap. An error says that the log could not find
// that out.
func (h *Hub) After(ctx context.Context, text string) (Start, error) {
	began := h.log.End()
	c, err := ParseCursor(text)
	if err != nil {
		return Start{Asked: text, began: began}, nil
	}
	known, err := h.log.Knows(ctx, c)
	if err != nil {
		return Start{}, err
	}
	if !known {
		c = Cursor{}
	}
	return Start{Cursor: c, Asked: text, began: began}, nil
}

// Subscribe makes a subscriber with the given selections.
func (h *Hub) Subscribe(sink Sink, opts SubscribeOptions, selections ...Selection) *Subscriber {
	opts.Signals = opts.Signals && opts.Form != nil
	shard := h.shards[h.turnOf.Add(1)%uint64(len(h.shards))]
	sub := newSubscriber(Subscriber{shard: shard, sink: sink, opts: opts, state: sending, aside: &calm}, selections)
	for _, sel := range selections {
		h.count(sel.Patterns, 1)
	}
	sub.shard.post(command{kind: cmdJoin, sub: sub})
	return sub
}

func newSubscriber(sub Subscriber, selections []Selection) *Subscriber {
	if len(selections) == 1 {
		l := &lone{Subscriber: sub}
		l.subscription = newSubscription(&l.Subscriber, selections[0])
		l.list[0] = &l.subscription
		l.subscriptions = l.list[:]
		return &l.Subscriber
	}
	for _, sel := range selections {
		sub.subscriptions = append(sub.subscriptions, new(newSubscription(&sub, sel)))
	}
	return &sub
}

// count keeps the number of subscriptions per topic.
func (h *Hub) count(patterns []Pattern, by int) {
	h.countMu.Lock()
	defer h.countMu.Unlock()
	for _, p := range patterns {
		if !p.Literal() {
			continue
		}
		if h.counts[p.String()] += by; h.counts[p.String()] == 0 {
			delete(h.counts, p.String())
		}
	}
}

// Subscribers returns how many subscriptions name exactly this topic.
func (h *Hub) Subscribers(topic string) int {
	h.countMu.Lock()
	defer h.countMu.Unlock()
	return h.counts[topic]
}
