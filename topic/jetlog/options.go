package jetlog

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// Options say where a [Log] keeps its events, how safely, and how many. The
// zero value is good.
type Options struct {
	// Dir is the data directory. It is made if it is not there. One log at a
	// time can use it. If empty, "duplex-data".
	Dir string

	// SyncInterval is how often what was written is synced to the disk. An
	// append that was acknowledged outlives the process in any case, and the
	// machine if it was synced. If zero, 1 s.
	SyncInterval time.Duration
	// Fsync has every append synced to the disk before it is acknowledged.
	// Appends that are made at the same time share one sync.
	Fsync bool

	// NATS, if it is not nil, has the events in a stream of an external server
	// or cluster, which several logs on several machines may use at the same
	// time: what one of them appends, all have. Dir, SyncInterval and Fsync do
	// not matter then. What follows, up to MaxKeys, must be the same for all of
	// them, else it is ErrOptions: it says what is kept. Nothing is removed
	// while there is no server.
	NATS *NATS

	// RetainEvents is how many events each topic keeps. If zero, 100,000; if
	// negative, there is no such limit.
	RetainEvents int
	// RetainAge is how long events, and the ends of topics, are kept. If zero,
	// 24 h; if negative, there is no such limit.
	RetainAge time.Duration
	// RetainBytes is what all events together may take: their data, and
	// EntryOverhead for each. An event larger than that is delivered to the
	// watcher and lost at once. If zero, 1 GiB; if negative, there is no such
	// limit. On the disk the log may take twice as much and 256 MiB more: what
	// was lost is removed when it is worth it.
	RetainBytes int64
	// Rules have topics keep less. They may differ from those that the log was
	// opened with before. nil is none.
	Rules *topic.Rules
	// IdempotencyWindow is how long a key is remembered, at most RetainAge.
	// If zero, 2 min; if negative, keys are ignored.
	IdempotencyWindow time.Duration
	// MaxTopics is how many topics may be known: those that have events, and
	// those that were ended. One more gives topic.ErrTooManyTopics. If zero,
	// 1,000,000; if negative, there is no such limit.
	MaxTopics int
	// MaxKeys is how many idempotency keys may be remembered. One more gives
	// topic.ErrTooManyKeys. If zero, 1,000,000; if negative, there is no such
	// limit.
	MaxKeys int
	// TailBytes is what the newest events may take in memory: their data, and
	// EntryOverhead for each. Who reads them waits for no disk. If zero,
	// 64 MiB; if negative, none are kept.
	TailBytes int64

	// Progress is called while Open reads the log, now and then and at the
	// end, by the goroutine that called Open. It may be nil.
	Progress func(read, of uint64)
	// Logger is told what goes wrong in the log beyond what errors say. If
	// nil, nobody is.
	Logger *slog.Logger
}

// EntryOverhead is what an event counts to Options.RetainBytes and TailBytes
// beyond its data: about what keeping it takes, on the disk and in memory.
const EntryOverhead = 128

const (
	defaultDir  = "duplex-data"
	defaultSync = time.Second

	sweepEvery = time.Minute
)

// withDefaults returns a copy in which every limit is a number to compare with.
func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	d.Dir = cmp.Or(d.Dir, defaultDir)
	d.SyncInterval = cmp.Or(d.SyncInterval, defaultSync)
	keep.Default(&d.RetainEvents, &d.RetainAge, &d.RetainBytes, &d.IdempotencyWindow, &d.MaxTopics, &d.MaxKeys)
	d.TailBytes = keep.Or(d.TailBytes, 64<<20, 0)
	if d.Progress == nil {
		d.Progress = func(uint64, uint64) {}
	}
	d.Logger = cmp.Or(d.Logger, slog.New(slog.DiscardHandler))
	return d
}
