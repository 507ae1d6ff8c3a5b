package topic

import "time"

// Bounds are what a [Log] keeps, and for how long. The zero value is good.
type Bounds struct {
	// RetainEvents is how many events each topic keeps. If zero, 100,000; if
	// negative, there is no such limit.
	RetainEvents int
	// RetainAge is how long events, and the ends of topics, are kept. If zero,
	// 24 h; if negative, there is no such limit.
	RetainAge time.Duration
	// RetainBytes is what all events together may take: their data, and the
	// log's EntryOverhead for each. An event larger than that is delivered to
	// the watcher and lost at once. If zero, 1 GiB; if negative, there is no
	// such limit. The ends of topics do not count: MaxTopics bounds them, and
	// RetainAge.
	RetainBytes int64
	// IdempotencyWindow is how long a key is remembered, at most RetainAge.
	// If zero, 2 min; if negative, keys are ignored.
	IdempotencyWindow time.Duration
	// MaxTopics is how many topics may be known: those that have events, and
	// those whose end is kept. One more gives ErrTooManyTopics. If zero,
	// 1,000,000; if negative, there is no such limit.
	MaxTopics int
	// MaxKeys is how many idempotency keys may be remembered. One more gives
	// ErrTooManyKeys. If zero, 1,000,000; if negative, there is no such limit.
	MaxKeys int
	// Rules may have topics keep fewer events, for a shorter time. What a rule
	// says that is more than the limits above has no effect. nil is none.
	Rules *Rules
}
