package view

import (
	"slices"

	"github.com/duplexhq/duplex/topic"
)

// A handoff is the sink of a subscriber that has a goroutine of its own: the
// hub leaves a batch, the goroutine writes it and asks for the next by
// Subscriber.Writable. It belongs to the hub while empty, and to the goroutine
// from the receive on filled until Writable.
type handoff struct {
	batch  topic.Batch
	filled chan struct{} // capacity 1, and one batch at a time: never blocks
}

func newHandoff() *handoff { return &handoff{filled: make(chan struct{}, 1)} }

// Send keeps the references to the shared bytes, never a copy. In some forms
// the end of a topic has none.
func (h *handoff) Send(b topic.Batch) bool {
	h.batch.Chunks = h.batch.Chunks[:0]
	for _, c := range b.Chunks {
		if len(c) > 0 {
			h.batch.Chunks = append(h.batch.Chunks, c)
		}
	}
	h.batch.Entries = slices.Clone(b.Entries)
	h.batch.End = b.End
	h.filled <- struct{}{}
	return false
}

// release forgets the chunks that were written, and a long list of them.
func (h *handoff) release() {
	const keep = 16
	clear(h.batch.Chunks)
	if cap(h.batch.Chunks) > keep {
		h.batch.Chunks = nil
	}
}
