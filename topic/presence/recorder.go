package presence

import (
	"container/list"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// Options configure a [Recorder].
type Options struct {
	// Patterns are those of the topics whose members are recorded. System
	// topics have none.
	Patterns []topic.Pattern
	// Grace is how long a member with a name stays after its last connection
	// has gone. If zero, DefaultGrace; if negative, it leaves at once.
	Grace time.Duration
	// MaxMembers bounds the members of all topics together; who is on two
	// topics is two. Beyond it nobody joins here; those whom other nodes hold
	// count. If zero, DefaultMaxMembers; if negative, no limit.
	MaxMembers int
	// Shared says that other nodes append to the log, too, whose members are
	// those of one table. All of them must be configured alike.
	Shared bool
	// Logger is told when the log does not take what is to be announced. If
	// nil, silent.
	Logger *slog.Logger
}

const (
	DefaultGrace      = 5 * time.Second
	DefaultMaxMembers = 1_000_000

	// interval lies between two announcements of a topic.
	interval = 100 * time.Millisecond
	// retryAfter lies between two attempts while the log takes nothing.
	retryAfter = time.Second
	// maxChanges bounds the joins and leaves of one event.
	maxChanges = 1000
	// appendsAtOnce bounds the announcements that are on their way.
	appendsAtOnce = 32
	// patience bounds what New and Close wait for the log.
	patience = 5 * time.Second
)

// A Recorder records who is on the topics of some patterns. A nil *Recorder
// records nothing. Its methods may be called at the same time.
type Recorder struct {
	hub        *topic.Hub
	log        topic.Log
	patterns   []topic.Pattern
	grace      time.Duration
	maxMembers int
	shared     bool
	logger     *slog.Logger

	// seen is up to where the log is in the table. It is written with mu held if
	// that has changed the table.
	seen atomic.Pointer[topic.ID]

	mu      sync.Mutex
	table                 // guarded by mu
	away    list.List     // of *member: those in their grace, by its end; guarded by mu
	due     []*attendance // those with something to announce; guarded by mu
	cooling []*attendance // those that were announced within the interval, by when it ends; guarded by mu
	retry   time.Time     // nothing is announced before; guarded by mu
	nodes   nodes         // guarded by mu
	began   topic.ID      // the end of the log when nobody was on any topic; guarded by mu
	behind  bool          // some of the log was missed; guarded by mu
	ready   chan struct{} // closed when the table is whole; guarded by mu

	isWhole atomic.Bool   // the table is
	wake    chan struct{} // capacity 1: there may be something to do
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
	once    sync.Once
}

// New starts a recorder that appends to the hub's log, and is the hub's
// observer. Close must be called, before the hub's. An error says what is wrong
// with the options.
func New(hub *topic.Hub, opts *Options) (*Recorder, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if err := checkPatterns(o.Patterns); err != nil {
		return nil, err
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.MaxMembers == 0 {
		o.MaxMembers = DefaultMaxMembers
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Recorder{
		hub: hub, log: hub.Log(), patterns: slices.Clone(o.Patterns), grace: max(o.Grace, 0), maxMembers: o.MaxMembers, shared: o.Shared, logger: o.Logger,
		table: newTable(), ready: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.start()
	r.running.Go(r.run) // Ends, and is joined, by Close.
	return r, nil
}

// start begins with the log as it is now: nobody is announced, and no other node
// is known.
func (r *Recorder) start() {
	r.hub.Observe(nil)
	r.mu.Lock()
	r.behind = false
	r.forgetAll()
	r.nodes, r.began = nodes{}, topic.ID{}
	r.nodes.begin()
	r.seen.Store(new(r.hub.Observe(r.observe))) // until mu is free, nothing is seen
	r.mu.Unlock()
	if !r.shared {
		began := r.begin()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.began = began; !r.behind {
			r.whole()
		}
	}
}

// begin returns a place in the log that lies after all cursors from before: the
// end may be one of them. If the log takes no event now, it is the end: then who
// has that cursor is not told of a gap.
func (r *Recorder) begin() topic.ID {
	end := r.log.End()
	if end.Seq == 0 {
		return end // nobody was ever announced
	}
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	id, err := r.append(ctx, beginnings, []byte(`{"began":true}`), topic.ID{})
	if err != nil {
		r.logger.Error("the beginning of presence is not in the log", "error", err)
		return end
	}
	return id
}

// append appends an event. Seen, unless zero, is up to where its topic is known.
// The log may not look at the context: then what it does goes on alone, and ends
// at the latest when it is closed.
func (r *Recorder) append(ctx context.Context, name string, data []byte, seen topic.ID) (topic.ID, error) {
	type outcome struct {
		id  topic.ID
		err error
	}
	appended := make(chan outcome, 1)
	go func() {
		draft := topic.Draft{Type: TypePresence, Media: "application/json", Kind: topic.JSON, Data: data}
		id, err := r.log.Append(ctx, name, []topic.Draft{draft}, topic.Key{Seen: seen})
		appended <- outcome{id, err}
	}()
	select {
	case o := <-appended:
		return o.id, o.err
	case <-ctx.Done():
		return topic.ID{}, context.Cause(ctx)
	}
}

// Close stops the announcements. What is not announced yet is not; but other
// nodes are told that this one has gone.
func (r *Recorder) Close() {
	if r == nil {
		return
	}
	r.once.Do(func() {
		r.stop()
		r.running.Wait()
		if r.shared {
			r.takeLeave()
		}
		r.hub.Observe(nil)
	})
}

// Ready waits until the recorder knows all members, which takes it a moment if
// other nodes have some: until then neither Lost nor Snapshot can tell. The error
// is the context's cause.
func (r *Recorder) Ready(ctx context.Context) error {
	if r.isReady() {
		return nil
	}
	r.mu.Lock()
	ready := r.ready
	r.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *Recorder) isReady() bool { return r.isWhole.Load() }

// Records reports whether the members of a topic are recorded. The topic of
// the joins and leaves must have a name, too: so a longer one has none.
func (r *Recorder) Records(name string) bool {
	return r != nil && len(Prefix)+len(name) <= topic.MaxNameBytes &&
		slices.ContainsFunc(r.patterns, func(p topic.Pattern) bool { return p.Match(name) })
}

// Lost reports whether who has read the joins and leaves up to the cursor lacks
// some that were never told: a table ends with the last recorder that has it, and
// nobody tells that all have left.
func (r *Recorder) Lost(after topic.Cursor) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return after.Epoch != 0 && after.Seq < r.began.Seq
}

// A Snapshot is a page of a table.
type Snapshot struct {
	Members []string // in byte order
	Count   int      // of the whole table
	More    bool     // there are members after these
	// Cursor is where the joins and leaves begin that came later.
	Cursor topic.Cursor
}

// Snapshot returns the members of a topic whose names follow from, at most
// limit, as they were announced.
func (r *Recorder) Snapshot(name, from string, limit int) Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Snapshot{Cursor: topic.Cursor{ID: *r.seen.Load()}}
	t := r.topics[name]
	if t == nil {
		return s
	}
	s.Count = t.announced
	for m := range t.members.after(from) {
		if !m.announced {
			continue
		}
		if s.More = len(s.Members) == limit; s.More {
			break
		}
		s.Members = append(s.Members, m.name)
	}
	return s
}
