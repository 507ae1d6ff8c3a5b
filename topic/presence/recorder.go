package presence

import (
	"container/list"
	"context"
	"log/slog"
	"slices"
	"sync"
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
	// topics is two. If zero, DefaultMaxMembers; if negative, no limit.
	MaxMembers int
	// Logger is told when the log does not take what is to be announced. If
	// nil, silent.
	Logger *slog.Logger
}

const (
	DefaultGrace      = 5 * time.Second
	DefaultMaxMembers = 1_000_000

	// interval lies between two announcements.
	interval = 100 * time.Millisecond
	// retryAfter lies between two attempts while the log takes nothing.
	retryAfter = time.Second
	// maxChanges bounds the joins and leaves of one event.
	maxChanges = 1000
)

// A Recorder records who is on the topics of some patterns. A nil *Recorder
// records nothing. Its methods may be called at the same time.
type Recorder struct {
	log        topic.Log
	began      topic.ID // the end of the log when nobody was on any topic
	patterns   []topic.Pattern
	grace      time.Duration
	maxMembers int
	logger     *slog.Logger

	mu      sync.Mutex
	topics  map[string]*attendance // those with members; guarded by mu
	members int                    // of all topics; guarded by mu
	away    list.List              // of *member: those in their grace, by its end; guarded by mu
	changed []*attendance          // those with something to announce; guarded by mu
	next    time.Time              // not before then; guarded by mu

	wake    chan struct{} // capacity 1: there may be something to do
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

// attendance is the table of one topic. Its recorder's mu guards it.
type attendance struct {
	topic     string
	members   roll
	announced int       // how many of them are
	changed   []*member // each once
	// before is the log's end before an append that is in progress; else zero.
	before topic.ID
}

// member is one on one topic. Its recorder's mu guards it, but for the names.
type member struct {
	name        string
	topic       *attendance
	away        *list.Element // nil unless it is in its grace
	until       int64         // the end of its grace; Unix nanoseconds
	connections int32         // that it holds
	announced   bool          // as an event has told
	changed     bool          // it is in the topic's list of those
}

// present reports whether the member is to be told of as being there.
func (m *member) present() bool { return m.connections > 0 || m.away != nil }

// New starts a recorder that appends to the log. Close must be called, before
// the log's. An error says what is wrong with the options.
func New(log topic.Log, opts *Options) (*Recorder, error) {
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
		log: log, began: begin(log, o.Logger), patterns: slices.Clone(o.Patterns), grace: max(o.Grace, 0), maxMembers: o.MaxMembers, logger: o.Logger,
		topics: make(map[string]*attendance), wake: make(chan struct{}, 1),
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.running.Go(r.run) // Ends, and is joined, by Close.
	return r, nil
}

// begin returns a place in the log that lies after all cursors from before: the
// end may be one of them. If the log takes no event now, it is the end: then who
// has that cursor is not told of a gap.
func begin(log topic.Log, logger *slog.Logger) topic.ID {
	end := log.End()
	if end.Seq == 0 {
		return end // nobody was ever announced
	}
	draft := topic.Draft{Type: TypePresence, Media: "application/json", Kind: topic.JSON, Data: []byte(`{"began":true}`)}
	id, err := log.Append(context.Background(), beginnings, []topic.Draft{draft}, topic.Key{})
	if err != nil {
		logger.Error("the beginning of presence is not in the log", "error", err)
		return end
	}
	return id
}

// Close stops the announcements. What is not announced yet is not.
func (r *Recorder) Close() {
	if r != nil {
		r.stop()
		r.running.Wait()
	}
}

// Records reports whether the members of a topic are recorded. The topic of
// the joins and leaves must have a name, too: so a longer one has none.
func (r *Recorder) Records(name string) bool {
	return r != nil && len(Prefix)+len(name) <= topic.MaxNameBytes &&
		slices.ContainsFunc(r.patterns, func(p topic.Pattern) bool { return p.Match(name) })
}

// Lost reports whether who has read the joins and leaves up to the cursor lacks
// some that were never told: a table ends with its recorder, and nobody tells
// that all have left.
func (r *Recorder) Lost(after topic.Cursor) bool {
	return r != nil && after.Epoch != 0 && after.Seq < r.began.Seq
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
	// Under the lock no announcement can begin or take effect: whatever of this
	// topic lies before the end is in the table.
	s := Snapshot{Cursor: topic.Cursor{ID: r.log.End()}}
	t := r.topics[name]
	if t == nil {
		return s
	}
	if t.before.Epoch != 0 {
		s.Cursor.ID = t.before
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
