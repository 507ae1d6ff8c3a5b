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

// fill makes it a list of the entries.
func (l *list) fill(form Form, entries []ruled) {
	l.begin(form)
	if err := l.addAll(entries); err != nil {
		l.begin(form)
		l.err = err
	}
}

func (l *list) addAll(entries []ruled) (err error) {
	defer caught(&err)
	for _, e := range entries {
		l.add(e)
	}
	return nil
}

func (l *list) add(e ruled) {
	if l.form == nil {
		l.entries = append(l.entries, e.Entry)
	} else {
		chunk := e.Encode(l.form)
		l.chunks = append(l.chunks, chunk)
		l.bytes += uint64(len(chunk))
	}
	if l.ends = e.IsEnd(); !l.ends && l.form != nil {
		l.events++
	}
	l.pause = max(l.pause, e.rule.Batch)
}

// batch is what a subscriber gets with the list, which ends it if there is an end.
func (l *list) batch(opts *SubscribeOptions, end error) Batch {
	switch {
	case l.err != nil:
		return Batch{End: l.err}
	case end == nil && l.ends && opts.EndWithTopic:
		end = ErrEnded
	}
	return Batch{Chunks: l.parts(opts.Join), Entries: l.entries, End: end}
}

// release empties the list, and lets go of what it held.
func (l *list) release() {
	clear(l.chunks[:cap(l.chunks)])
	clear(l.entries[:cap(l.entries)])
	l.begin(nil)
}
