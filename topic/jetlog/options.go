package jetlog

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
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
	// not matter then. Bounds must be the same for all of them, else it is
	// ErrOptions. Nothing is removed while there is no server.
	NATS *NATS

	// Bounds are what is kept. On the disk the log may take twice RetainBytes and
	// 256 MiB more: what was lost is removed when it is worth it. The rules may
	// differ from those that the log was opened with before.
	topic.Bounds

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
const EntryOverhead = index.EntryOverhead

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
	d.Bounds = keep.Default(d.Bounds)
	d.TailBytes = keep.Or(d.TailBytes, 64<<20, 0)
	if d.Progress == nil {
		d.Progress = func(uint64, uint64) {}
	}
	d.Logger = cmp.Or(d.Logger, slog.New(slog.DiscardHandler))
	return d
}
