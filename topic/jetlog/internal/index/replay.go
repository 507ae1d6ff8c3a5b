package index

import (
	"fmt"
	"maps"
	"slices"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

// Replay appends what a message of the store holds.
func (x *Index) Replay(number uint64, b []byte, now int64) error {
	m := message.Read(b)
	switch {
	case m.Err != nil:
		return fmt.Errorf("message %d: %w", number, m.Err)
	case m.First <= x.End:
		return fmt.Errorf("jetlog: message %d begins with entry %d, and the one before it ends with %d", number, m.First, x.End)
	case m.First > x.End+1: // what was before is no longer there
		if x.Message > 0 {
			x.Holes += m.First - x.End - 1
		}
		x.appendCarried(m.First)
		x.Missing(m.First - 1)
	}
	x.carried = nil
	a := &x.reading
	for seq := m.First; m.Next(a); {
		t, name := x.Find(a.Topic)
		if a.Unkept > 0 {
			x.End, x.Message = seq+uint64(a.Unkept)-1, number
		}
		for i := range a.Drafts {
			t, _ = x.Append(t, name, &a.Drafts[i], seq+uint64(i), number, m.Nanos)
		}
		if a.Key.Value != "" && now < m.Nanos+x.Window {
			x.Remember(name, a.Key, seq, number, m.Nanos)
		}
		seq = x.End + 1
	}
	if m.Err != nil {
		return fmt.Errorf("message %d: %w", number, m.Err)
	}
	x.Bound()
	return nil
}

// carriedEntry is an entry in the store of old entries.
type carriedEntry struct {
	name    string
	draft   topic.Draft // of the data, only its size counts
	message uint64
	nanos   int64
}

// ReplayCarried notes what a message of the store of old entries holds. It comes
// before the first message of the other store. What was carried more than once
// is where it was carried last.
func (x *Index) ReplayCarried(number uint64, b []byte) error {
	if x.carried == nil {
		x.carried = make(map[uint64]carriedEntry)
	}
	a := &x.reading
	err := message.ReadCarried(b, func(m *message.Message) error {
		if m.Next(a) && len(a.Drafts) == 1 {
			x.carried[m.First] = carriedEntry{string(a.Topic), a.Drafts[0], number | CarriedBit, m.Nanos}
		}
		return m.Err
	})
	if err != nil {
		return fmt.Errorf("old message %d: %w", number, err)
	}
	return nil
}

// appendCarried appends the old entries that are older than what the store
// begins with. Of the others, the store has the original.
func (x *Index) appendCarried(before uint64) {
	for _, seq := range slices.Sorted(maps.Keys(x.carried)) {
		if c := x.carried[seq]; seq < before {
			x.Append(x.topics[c.name], c.name, &c.draft, seq, c.message, c.nanos)
		}
	}
}
