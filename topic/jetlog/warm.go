package jetlog

import (
	"context"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

// warmBytes is how much of the store is read for the tail at a start, at most: a
// quarter of a second's work.
const warmBytes = 16 << 20

// warm fills the tail from the store, before anything is appended: those whose
// connections a restart has cut come back all at once, and want what is newest.
func (l *Log) warm(ctx context.Context) error {
	x := l.index
	if l.tail.most <= 0 || x.Message == 0 {
		return nil
	}
	state, err := l.store.state(ctx)
	if err != nil {
		return err
	}
	from, most := state.first, min(l.tail.most, warmBytes)
	if messages := state.last - state.first + 1; state.last >= state.first && int64(state.bytes) > most {
		from = state.last - uint64(float64(messages)*float64(most)/float64(state.bytes)) + 1
	}
	var a message.Append
	return l.store.scan(ctx, from, func(number uint64, b []byte) error {
		m := message.Read(b)
		if number > x.Message || m.Shared && m.Link.After != number-1 {
			return nil // it comes later, or does not count
		}
		for seq := m.First; m.Next(&a); {
			seq += uint64(a.Unkept)
			t, name := x.Find(a.Topic)
			for _, d := range a.Drafts {
				e := m.Entry(l.id(seq), name, d)
				if it := x.Order.Find(seq); it != nil && it.Live() && !it.Value.IsEnd() && x.Superseded(t, seq) {
					e.Supersede()
				}
				l.tail.push([]*topic.Entry{e})
				seq++
			}
		}
		return m.Err
	})
}
