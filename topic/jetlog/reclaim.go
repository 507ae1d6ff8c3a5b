package jetlog

import (
	"context"
	"math"
	"time"

	"github.com/duplexhq/duplex/topic/internal/keep"
	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

// What was lost is removed from the disk only at the front of a store. If
// something old in front is still needed, it is carried to the store of old
// entries, and there again to its end. So the disk takes at most about twice
// what is needed, and nothing is carried often.
const (
	// diskSlack is what may lie on the disk beyond twice what is needed.
	diskSlack = 256 << 20

	carryItems = 512 // at a time
)

// window is how many bytes of the newest messages of a shared stream are needed:
// as many as the disk may hold of a log that is alone.
func window(retainBytes int64) int64 {
	if retainBytes >= (math.MaxInt64-diskSlack)/2 {
		return math.MaxInt64
	}
	return 2*retainBytes + diskSlack
}

// reclaim removes messages of which nothing is needed any more. The newest one
// stays: it says how far the sequence came.
func (l *Log) reclaim(ctx context.Context) error {
	l.mu.RLock()
	oldest, carried := l.index.OldestMessages()
	needed := uint64(l.index.Bytes)
	l.mu.RUnlock()
	if time.Since(l.carriedAt) < 3*l.opts.SyncInterval && !l.opts.Fsync {
		return nil // what was carried may not be on the disk yet
	}
	for _, s := range []struct {
		store
		bit, oldest uint64
	}{{l.store, 0, oldest}, {l.old, index.CarriedBit, carried}} {
		state, err := s.state(ctx)
		if err != nil {
			return err
		}
		before := min(s.oldest, state.last)
		if before > state.first {
			if err := s.purge(ctx, before); err != nil {
				return err
			}
			if state, err = s.state(ctx); err != nil {
				return err
			}
		}
		if state.bytes > 2*needed+l.slack {
			if err := l.carry(ctx, s.bit, state); err != nil {
				return err
			}
		}
	}
	return nil
}

// carry copies what is needed of the older half of a store to the store of old
// entries. The next reclaim removes that half.
func (l *Log) carry(ctx context.Context, bit uint64, state storeState) error {
	before := state.first + (state.last-state.first+1)/2
	for seq := uint64(0); ; {
		refs, next := l.refsBefore(seq, before, bit)
		if err := l.carryRefs(ctx, refs); err != nil {
			return err
		}
		if len(refs) > 0 {
			l.carriedAt = time.Now()
		}
		if next == seq || ctx.Err() != nil {
			return ctx.Err()
		}
		seq = next
	}
}

// refsBefore returns some of what is needed of the messages before a number, in
// the order of the log from seq on, and where to go on; that is seq at the end.
func (l *Log) refsBefore(seq, before, bit uint64) (refs []ref, next uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	items := 0
	next = seq
	for it := range l.index.Order.After(seq) {
		if items++; items > keep.SearchItems || len(refs) == carryItems {
			return refs, next
		}
		message := it.Value.Message
		if bit == 0 && message&index.CarriedBit == 0 && message >= before {
			return refs, seq // so are all that follow
		}
		if it.Live() && message&index.CarriedBit == bit && message&^index.CarriedBit < before {
			refs = append(refs, l.refOf(it))
			refs[len(refs)-1].name = l.index.TopicOf(it).Name()
		}
		next = it.Seq
	}
	return refs, next
}

// carryRefs copies entries.
func (l *Log) carryRefs(ctx context.Context, refs []ref) error {
	entries, err := l.load(ctx, refs)
	if err != nil {
		return l.unreadable(ctx, err) // the next time, then
	}
	for len(refs) > 0 {
		carried := message.BeginCarried()
		n := 0
		for ; n < len(refs) && (n == 0 || len(carried)+len(entries[n].Data) <= groupBytes); n++ {
			carried = message.AppendCarried(carried, entries[n], refs[n].seq, refs[n].name)
		}
		number, err := l.old.publish(oldSubject, carried)
		if err != nil {
			return err
		}
		l.moved(refs[:n], number|index.CarriedBit)
		refs, entries = refs[n:], entries[n:]
	}
	return nil
}

// moved notes where entries are now, if they are still needed.
func (l *Log) moved(refs []ref, number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range refs {
		if it := l.index.Order.Find(r.seq); it != nil && it.Live() {
			it.Value.Message = number
		}
	}
}
