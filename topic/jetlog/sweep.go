package jetlog

import (
	"context"
	"math"
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

const (
	// tickEvery is how often a log that nobody appends to looks for what is
	// over age.
	tickEvery = time.Second
	// purgeEvery is how often a node removes from the stream what no longer is
	// needed, and purgeAfter how many times later: so long may another node be
	// without the stream and still go on.
	purgeEvery = time.Minute
	purgeAfter = 10
)

// sweepShared has what is over age removed, from the log and then from the
// stream. Ends when closing is closed. Joined by Close.
func (l *Log) sweepShared() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ticks, purges := time.NewTicker(tickEvery), time.NewTicker(purgeEvery)
	defer ticks.Stop()
	defer purges.Stop()
	var before []uint64
	for {
		select {
		case <-l.closing:
			return
		case <-ticks.C:
			l.mu.RLock()
			overdue := l.index.Overdue(time.Now().UnixNano())
			l.mu.RUnlock()
			if overdue {
				if err := l.tick(ctx); err != nil {
					l.opts.Logger.Debug("log cannot remove what is over age yet", "error", err)
				}
			}
		case <-purges.C:
			before = append(before, l.needed())
			if len(before) > purgeAfter {
				if err := l.purgeShared(ctx, before[0]); err != nil {
					l.opts.Logger.Warn("log cannot remove what is over age", "error", err)
				}
				before = before[1:]
			}
		}
	}
}

// tick appends a message without entries: time goes on.
func (l *Log) tick(ctx context.Context) error {
	p := &pending{turn: make(chan turn, 1)}
	t, err := l.queue.enter(ctx, p)
	if err != nil {
		return err
	}
	if t == lead {
		l.lead(p)
	}
	return p.err
}

// needed returns the oldest message that is needed. The newest one always is.
func (l *Log) needed() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	oldest, _ := l.index.OldestMessages()
	return min(oldest, l.index.Message)
}

func (l *Log) purgeShared(ctx context.Context, before uint64) error {
	if before <= 1 || before == math.MaxUint64 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	state, err := l.store.state(ctx)
	if err != nil || before <= state.first {
		return err
	}
	return l.store.purge(ctx, before)
}
