package topic

import (
	"bytes"
	"time"
)

// A list is what a batch holds of events, for everybody who gets the same of
// them in the same form.
type list struct {
	form    Form
	chunks  [][]byte
	joined  [1][]byte     // all chunks, once they were joined
	entries []*Entry      // without a form
	bytes   uint64        // of the chunks
	events  uint64        // without the ends of topics
	ends    bool          // the last entry is the end of a topic
	pause   time.Duration // the longest Batch of their rules
	err     error         // of a form that has panicked: nothing else counts
}

// Small chunks are joined: a copy, for all, costs less than to name each of
// them to the kernel, for each (40 ns).
const (
	joinBytes = 64 << 10
	joinChunk = 1 << 10 // on average
)

// begin empties the list.
func (l *list) begin(form Form) {
	*l = list{form: form, chunks: l.chunks[:0], entries: l.entries[:0]}
}

// parts returns the chunks, joined if that pays and may be done.
func (l *list) parts(join bool) [][]byte {
	n := uint64(len(l.chunks))
	if !join || n < 2 || l.bytes > min(joinBytes, n*joinChunk) {
		return l.chunks
	}
	if l.joined[0] == nil {
		l.joined[0] = bytes.Join(l.chunks, nil)
	}
	return l.joined[:]
}

func (l *list) add(e ruled) {
	if l.form == nil {
		l.entries = append(l.entries, e.Entry)
	} else {
		chunk, err := encode(l.form, e.Entry)
		if err != nil {
			l.err = err
			return
		}
		l.chunks = append(l.chunks, chunk)
		l.bytes += uint64(len(chunk))
	}
	if l.ends = e.IsEnd(); !l.ends && l.form != nil {
		l.events++
	}
	l.pause = max(l.pause, e.rule.Batch)
}

// release empties the list, and lets go of what it held.
func (l *list) release() {
	clear(l.chunks[:cap(l.chunks)])
	clear(l.entries[:cap(l.entries)])
	l.begin(nil)
}
