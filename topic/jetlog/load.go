package jetlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

// ref is an entry that a page will hold.
type ref struct {
	seq   uint64
	entry *topic.Entry // nil if it is not in memory: then the rest says what and where it is

	stored     index.Stored
	name       string
	superseded bool
}

func (r *ref) isEnd() bool {
	if r.entry != nil {
		return r.entry.IsEnd()
	}
	return r.stored.IsEnd()
}

// bytes is the size of the data.
func (r *ref) bytes() int {
	if r.entry != nil {
		return len(r.entry.Data)
	}
	return r.stored.Bytes()
}

// ref makes the ref of an entry of a topic.
func (l *Log) ref(seq uint64, t *index.Topic) ref {
	if e := l.tail.entry(seq); e != nil {
		return ref{seq: seq, entry: e}
	}
	return l.coldRef(l.index.Order.Find(seq), t)
}

// refOf makes the ref of an item.
func (l *Log) refOf(it *index.Item) ref {
	if e := l.tail.entry(it.Seq); e != nil {
		return ref{seq: it.Seq, entry: e}
	}
	return l.coldRef(it, l.index.TopicOf(it))
}

func (l *Log) coldRef(it *index.Item, t *index.Topic) ref {
	r := ref{seq: it.Seq, stored: it.Value, name: t.Name()}
	r.superseded = !r.isEnd() && l.index.Superseded(t, it.Seq)
	return r
}

// load makes the entries of refs, which are in ascending order.
func (l *Log) load(ctx context.Context, refs []ref) ([]*topic.Entry, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	entries := make([]*topic.Entry, len(refs))
	var numbers []uint64
	var firsts []int // of each number, its first ref
	for i := range refs {
		switch r := &refs[i]; {
		case r.entry != nil:
			entries[i] = r.entry
		case r.isEnd():
			event := topic.NewEvent(l.id(r.seq), r.name, topic.EndDraft(), time.Unix(0, r.stored.Nanos))
			entries[i] = &topic.Entry{Event: event}
		case len(numbers) == 0 || numbers[len(numbers)-1] != r.stored.Message:
			numbers = append(numbers, r.stored.Message)
			firsts = append(firsts, i)
		}
	}
	if len(numbers) == 0 {
		return entries, nil
	}
	at := make(map[uint64]int, len(numbers))
	for n, number := range slices.Backward(numbers) { // the first ref, if a message comes more than once
		at[number] = firsts[n]
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	take := func(m *message.Message, i int) {
		var a message.Append
		for seq := m.First; m.Next(&a); seq += uint64(a.Unkept) {
			for _, d := range a.Drafts {
				for i < len(refs) && refs[i].seq < seq {
					i++
				}
				if i < len(refs) && refs[i].seq == seq && entries[i] == nil {
					e := m.Entry(l.id(seq), refs[i].name, d)
					if refs[i].superseded {
						e.Supersede()
					}
					entries[i] = e
				}
				seq++
			}
		}
	}
	err := l.loadMessages(ctx, numbers, func(number uint64, b []byte) error {
		if number&index.CarriedBit == 0 {
			m := message.Read(b)
			take(&m, at[number])
			return m.Err
		}
		return message.ReadCarried(b, func(m *message.Message) error {
			take(m, at[number])
			return m.Err
		})
	})
	if err != nil {
		return nil, err
	}
	for i, e := range entries {
		if e == nil {
			return nil, fmt.Errorf("jetlog: entry %d is not in message %d", refs[i].seq, refs[i].stored.Message)
		}
	}
	return entries, nil
}

// loadMessages loads messages of both stores, whose numbers ascend.
func (l *Log) loadMessages(ctx context.Context, numbers []uint64, f func(uint64, []byte) error) error {
	old := sort.Search(len(numbers), func(i int) bool { return numbers[i]&index.CarriedBit != 0 })
	if old < len(numbers) {
		carried := make([]uint64, len(numbers)-old)
		for i, number := range numbers[old:] {
			carried[i] = number &^ index.CarriedBit
		}
		err := l.old.load(ctx, carried, func(number uint64, b []byte) error { return f(number|index.CarriedBit, b) })
		if missing, ok := errors.AsType[*missingError](err); ok {
			missing.number |= index.CarriedBit
		}
		if err != nil || old == 0 {
			return err
		}
	}
	return l.store.load(ctx, numbers[:old], f)
}

// unreadable finds out why a page could not be loaded. It returns nil if it is
// to be chosen again: what it held is lost. Either retention has removed it
// meanwhile, or the disk has.
func (l *Log) unreadable(ctx context.Context, err error) error {
	missing, ok := errors.AsType[*missingError](err)
	switch {
	case ctx.Err() != nil:
		return err
	case !ok && l.remote != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case !ok:
		return err
	case l.remote != nil:
		if there, err := l.remote.has(ctx, missing.number); there || err != nil {
			return err
		}
	}
	s := l.store
	if missing.number&index.CarriedBit != 0 {
		s = l.old
	}
	state, err := s.state(ctx)
	if err != nil {
		return err
	}
	if missing.number&^index.CarriedBit < state.first && l.remote == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if lost := l.index.LoseMessage(missing.number); lost > 0 {
		l.opts.Logger.Error("log has lost a message on the disk", "message", missing.number, "entries", lost)
	}
	return nil
}
