package keep

import (
	"math"
	"time"

	"github.com/duplexhq/duplex/topic"
)

const (
	// PageEntries bounds a page, whatever is asked for.
	PageEntries = 10_000
	// SearchItems bounds how far a search for patterns goes in the order of
	// the log before it lets go of the lock.
	SearchItems = 16 << 10
	// GlanceItems bounds a search that need not come to its end.
	GlanceItems = 1024
	// ExpireItems bounds how many entries and keys are let go at once, so that
	// nobody waits long for the lock when a burst comes of age.
	ExpireItems = 1024
	// TopicsStep is how many topics are listed before the lock is let go.
	TopicsStep = 4096
)

// Default makes the limits of a log numbers to compare with: one that is zero the
// default, one that is negative none, and the window at most as long as the age.
func Default(b topic.Bounds) topic.Bounds {
	b.RetainEvents = Or(b.RetainEvents, 100_000, math.MaxInt)
	b.RetainAge = Or(b.RetainAge, 24*time.Hour, math.MaxInt64)
	b.RetainBytes = Or(b.RetainBytes, 1<<30, math.MaxInt64)
	b.IdempotencyWindow = min(Or(b.IdempotencyWindow, 2*time.Minute, 0), b.RetainAge)
	b.MaxTopics = Or(b.MaxTopics, 1_000_000, math.MaxInt)
	b.MaxKeys = Or(b.MaxKeys, 1_000_000, math.MaxInt)
	return b
}

// Or returns what stands for a limit that is zero, or negative, else the limit.
func Or[T int | int64 | time.Duration](limit, zero, negative T) T {
	switch {
	case limit == 0:
		return zero
	case limit < 0:
		return negative
	}
	return limit
}

// Page returns the limit of a page as numbers to compare with.
func Page(limit topic.Limit) topic.Limit {
	if limit.Events <= 0 {
		limit.Events = PageEntries
	}
	if limit.Bytes <= 0 {
		limit.Bytes = math.MaxInt
	}
	limit.Events = min(limit.Events, PageEntries)
	return limit
}
