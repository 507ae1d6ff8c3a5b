package jetlog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

// progressMessages is how many messages are read between two calls of
// Options.Progress.
const progressMessages = 1 << 15

// rebuild makes the index what the store says, from the message on that
// follows the newest one that it knows. Retention works as it did when the
// entries were appended, or as the options say now.
func (x *index) rebuild(ctx context.Context, s, old store, now time.Time, progress func(read, of uint64)) error {
	if x.message == 0 {
		if err := x.readCarried(ctx, old); err != nil {
			return err
		}
	}
	var a message.Append
	err := x.readOn(ctx, s, progress, func(number uint64, b []byte) error {
		return x.replay(number, b, &a, now.UnixNano())
	})
	if err != nil {
		return err
	}
	for x.expire(now.UnixNano()) {
	}
	return nil
}

// readOn gives the messages of a store that follow the newest one that the index
// knows, and tells how far it has come.
func (x *index) readOn(ctx context.Context, s store, progress func(read, of uint64), take func(number uint64, b []byte) error) error {
	state, err := s.state(ctx)
	if err != nil {
		return err
	}
	from := max(x.message+1, state.first)
	var of, read uint64
	if from <= state.last {
		of = state.last - from + 1
	}
	err = s.scan(ctx, from, func(number uint64, b []byte) error {
		if read++; read%progressMessages == 0 {
			progress(read, of)
		}
		return take(number, b)
	})
	if err == nil {
		progress(of, of)
	}
	return err
}

// replay appends what a message of the store holds.
func (x *index) replay(number uint64, b []byte, a *message.Append, now int64) error {
	m := message.Read(b)
	switch {
	case m.Err != nil:
		return fmt.Errorf("message %d: %w", number, m.Err)
	case m.First <= x.end:
		return fmt.Errorf("jetlog: message %d begins with entry %d, and the one before it ends with %d", number, m.First, x.end)
	case m.First > x.end+1: // what was before is no longer there
		if x.message > 0 {
			x.holes += m.First - x.end - 1
		}
		x.appendCarried(m.First)
		x.missing(m.First - 1)
	}
	x.carried = nil
	for seq := m.First; m.Next(a); {
		t, name := x.find(a.Topic)
		if a.Unkept > 0 {
			x.end, x.message = seq+uint64(a.Unkept)-1, number
		}
		for i := range a.Drafts {
			t, _ = x.append(t, name, &a.Drafts[i], seq+uint64(i), number, m.Nanos)
		}
		if a.Key.Value != "" && now < m.Nanos+x.window {
			x.remember(name, a.Key, seq, number, m.Nanos)
		}
		seq = x.end + 1
	}
	if m.Err != nil {
		return fmt.Errorf("message %d: %w", number, m.Err)
	}
	x.bound()
	return nil
}

// carriedEntry is an entry in the store of old entries.
type carriedEntry struct {
	name    string
	draft   topic.Draft // of the data, only its size counts
	message uint64
	nanos   int64
}

// readCarried reads the store of old entries. What was carried more than once
// is where it was carried last.
func (x *index) readCarried(ctx context.Context, old store) error {
	x.carried = make(map[uint64]carriedEntry)
	var a message.Append
	return old.scan(ctx, 1, func(number uint64, b []byte) error {
		err := message.ReadCarried(b, func(m *message.Message) error {
			if m.Next(&a) && len(a.Drafts) == 1 {
				x.carried[m.First] = carriedEntry{string(a.Topic), a.Drafts[0], number | carriedBit, m.Nanos}
			}
			return m.Err
		})
		if err != nil {
			return fmt.Errorf("old message %d: %w", number, err)
		}
		return nil
	})
}

// appendCarried appends the old entries that are older than what the store
// begins with. Of the others, the store has the original.
func (x *index) appendCarried(before uint64) {
	for _, seq := range slices.Sorted(maps.Keys(x.carried)) {
		if c := x.carried[seq]; seq < before {
			x.append(x.topics[c.name], c.name, &c.draft, seq, c.message, c.nanos)
		}
	}
}
