package jetlog

import (
	"context"
	"time"
)

// sweepBytes is how much is written before the log looks again for what may be
// removed from the disk.
const sweepBytes = 64 << 20

// sweep frees what is over age in a log that nobody calls, and removes from the
// disk what is no longer needed. Ends when closing is closed. Joined by Close.
func (l *Log) sweep() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan struct{})
	l.wg.Go(func() { // ends with this; joined by Close
		defer close(stop)
		<-l.closing
		cancel()
	})
	ticker := time.NewTicker(min(l.opts.RetainAge, sweepEvery))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.sweeping:
		case <-stop:
			return
		}
		for l.expireSome() {
		}
		if err := l.reclaim(ctx); err != nil && ctx.Err() == nil {
			l.opts.Logger.Warn("log cannot remove what is over age", "error", err)
		}
	}
}

// wrote counts what is appended. Only the queue's leader calls it.
func (l *Log) wrote(bytes int) {
	if l.unswept += bytes; l.unswept < sweepBytes {
		return
	}
	l.unswept = 0
	select {
	case l.sweeping <- struct{}{}:
	default:
	}
}
