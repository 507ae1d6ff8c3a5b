package topic

import (
	"context"
	"errors"
)

// A Log keeps the events of all topics in one sequence, and bounds them by
// count per topic, by age and by bytes. package logtest holds the tests that
// every Log must pass. All methods may be called at the same time.
//
// Loss: an event that retention removed is lost. A cursor C has a gap on a
// topic exactly when an event of that topic with an id after C was lost, or
// when C is of no known epoch or beyond the end of the log. The log remembers
// per topic its newest lost id and when it was lost, on a loss clock: a number
// that grows with each loss and is never less than the sequence at that time.
// Losses that a cursor has been told of (Cursor.Told) are no gap again. What
// the log has forgotten about a topic counts as lost up to the newest event
// that it has forgotten of any topic.
//
// Rules: a [Rule] may have a log keep fewer events of a topic, for a shorter
// time. An event of an ephemeral topic gets an id and goes to the watcher, and
// is neither kept nor lost. An event that is removed after a later one has
// superseded it is not lost either. The end of a topic is kept as long as its
// events may be, and what is known of the topic with it: then it is lost, and
// the name may be used anew. It does not count to any limit but that of topics.
type Log interface {
	// Append stores drafts as contiguous entries of one topic, all or none,
	// and returns the id of the first; the others follow it by one each. It
	// returns when they are stored as durably as the log promises. The name
	// has been checked.
	//
	// A draft for an ended topic gives ErrEnded. With a key, a repeated append
	// of the same digest within the idempotency window returns the first id
	// and stores nothing; of another digest it gives ErrKeyReused. With
	// Key.Seen, an entry of the topic that is kept and lies after it gives
	// ErrUnseen.
	Append(ctx context.Context, topic string, drafts []Draft, key Key) (ID, error)

	// Read returns what the interests select, oldest first, from the least of
	// their cursors on. See [Page]. Entries that later ones have superseded by
	// a rule that conflates are marked ([Entry.Supersede]); one that is not
	// costs a needless delivery.
	Read(ctx context.Context, interests []Interest, limit Limit) (Page, error)

	// Newest returns the newest events of the patterns, as the limit allows, oldest
	// first, without ends. The cursor is the end of the log; More and Gaps of
	// the page are not used.
	Newest(ctx context.Context, patterns []Pattern, limit Limit) (Page, error)

	// Earliest returns the cursor that lies just before the oldest retained
	// event of the patterns (the end of the log if there is none) and counts
	// every loss so far as told.
	Earliest(ctx context.Context, patterns []Pattern) (Cursor, error)

	// Knows reports whether the cursor is of this log, not beyond its end, and
	// claims to have been told of no loss that has not happened yet. A log that
	// is shared may have to ask for that; if it cannot find it out within a
	// bound of its own, that is an ErrUnavailable.
	Knows(context.Context, Cursor) (bool, error)

	// End is the id of the newest entry; with Seq 0 if there never was one.
	End() ID

	// Ended returns the id of a topic's end entry, if the topic was ended and
	// that is still kept.
	Ended(topic string) (ID, bool)

	// Topics lists the known topics whose name is greater than from, in the
	// order of their names, at most limit.
	Topics(ctx context.Context, from string, limit int) ([]Info, error)

	// Watch has f called with all entries appended after the returned id, in
	// the order of the log, each once, by one caller at a time. f must not
	// block, call the log, nor keep the slice. A log has one watcher.
	//
	// A log that was away, and cannot tell what came meanwhile, calls f with
	// nil: what comes then comes after its End, which f may ask for in this
	// case. What was before has to be read, and some of it may be lost.
	Watch(f func([]*Entry)) ID

	// Rules are those that the log keeps events by; nil is none.
	Rules() *Rules

	// Ready returns why nothing can be appended now, or nil.
	Ready() error

	// Close releases the log. Calls afterwards give ErrClosed.
	Close() error
}

// A Key makes a retried append harmless, or one that others may have overtaken.
// The zero Key is none.
type Key struct {
	Value  string
	Digest [32]byte // of everything that must be the same in a retry
	// Seen, unless zero, is up to where the author knows the topic: the append
	// is only for a log where nothing of the topic has come since.
	Seen ID
}

// Overtaken reports whether an entry of the topic is one that the author has
// not seen.
func (k *Key) Overtaken(newest uint64) bool { return k.Seen.Epoch != 0 && newest > k.Seen.Seq }

// An Interest selects the events that match any of Patterns and lie after
// After. It has one cursor, and so one gap: over the union of its patterns.
type Interest struct {
	Patterns []Pattern // at least one; not changed while the log reads
	After    Cursor
}

// A Limit bounds one page. A log may return less than it allows, but always
// at least one entry or a Cursor that has moved, unless More is false. Zero or
// less is no limit.
type Limit struct {
	Events int // and ends of topics
	Bytes  int // of data; one entry may exceed it
}

// A Page is one consistent look at the log.
type Page struct {
	Entries []*Entry
	// Cursor is where to go on: everything that the interests select up to
	// here is in Entries. Without More it is the end of the log.
	// Its Told is set where it lies before losses that were told.
	Cursor Cursor
	// More says that the limit ended the page, not the log.
	More bool
	// Gaps holds, for each interest whose cursor has a gap, what is missing.
	Gaps []Gap
}

// A Gap says that events between an interest's cursor and Oldest are lost.
type Gap struct {
	Interest int    // index into the interests of the Read
	Oldest   ID     // the first retained event after the cursor; zero if nothing is left
	Cursor   Cursor // lies just before Oldest, and has been told of the loss
	To       ID     // events may be missing up to here, because of SlowDrop, if that is beyond Cursor; else zero
}

// Info describes one topic.
type Info struct {
	Topic  string
	Newest ID
	Events int   // retained, without the end
	Bytes  int64 // of their data
	Ended  bool
}

var (
	ErrEnded         = errors.New("topic: topic was ended")
	ErrKeyReused     = errors.New("topic: idempotency key was used with another content")
	ErrKeyInProgress = errors.New("topic: the first publish with this idempotency key is still in progress")
	ErrUnseen        = errors.New("topic: the topic has events that the author has not seen")
	ErrTooManyKeys   = errors.New("topic: too many idempotency keys are remembered")
	ErrTooManyTopics = errors.New("topic: too many topics")
	ErrNotJSON       = errors.New("topic: data is not one JSON value")
	ErrClosed        = errors.New("topic: closed")
	// ErrUnavailable is what a log's errors are that say that it cannot do
	// its work now.
	ErrUnavailable = errors.New("topic: the log cannot be read or written now")
)
