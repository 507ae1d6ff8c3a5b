package jetlog

import (
	"errors"
	"io/fs"
	"os"

	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
)

// readSnapshot returns the index of the snapshot if there is one that the
// store still has everything of, else an empty index; and the end of the log
// when the snapshot was made.
func (d *directory) readSnapshot(o *Options, state, old storeState) (x *index.Index, seen uint64) {
	b, err := os.ReadFile(d.file(snapshotFile))
	if err == nil {
		x, err = index.Restore(b, &o.Bounds)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Logger.Warn("log reads everything", "error", err)
	}
	if x == nil {
		return index.New(&o.Bounds), 0
	}
	seen = x.End
	oldest, oldestCarried := x.OldestMessages()
	if x.Message > state.last || x.Message+1 < state.first || oldest < state.first || oldestCarried < old.first {
		x = index.New(&o.Bounds)
	}
	return x, seen
}

func (d *directory) writeSnapshot(l *Log) error {
	return d.write(snapshotFile, l.index.Snapshot(&l.opts.Bounds))
}
