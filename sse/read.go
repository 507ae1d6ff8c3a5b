package sse

import (
	"bytes"
	"cmp"
	"io"
	"iter"
)

// readBytes is the size of one read: a few dozen usual events.
const readBytes = 16 << 10

// Read returns the events of r until its end, which needs no error. A read that
// fails, or a *TooBigError, is the last step. The events are the caller's to
// keep.
//
// If p is nil, a zero Parser is used; otherwise p can be asked afterwards where
// to go on. Read does not close r.
func Read(r io.Reader, p *Parser) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		p := cmp.Or(p, new(Parser))
		buf := make([]byte, readBytes)
		for {
			n, readErr := r.Read(buf)
			for event, err := range p.Feed(buf[:n]) {
				event.Data = bytes.Clone(event.Data)
				if !yield(event, err) || err != nil {
					return
				}
			}
			if readErr == io.EOF {
				return
			}
			if readErr != nil {
				yield(Event{}, readErr)
				return
			}
		}
	}
}
