package index

import (
	"errors"
	"fmt"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

// A Chain is what an index knows of a stream that several nodes share.
type Chain struct {
	begun  bool   // some message has counted
	Last   uint64 // the id of the newest message
	Nanos  int64  // its time; times do not go back
	Epochs Epochs
	recent [recentMessages]uint64 // the ids of the newest messages, by number modulo recentMessages; 0 for none

	// The messages that may still be needed, in spans of spanMessages. An entry
	// is lost when those from its own span on take more than window: so an old
	// event of a quiet topic does not keep the stream from being purged.
	window int64
	spans  []int64 // bytes of each
	span   uint64  // number of the first
	bytes  int64   // of all
	oldest uint64  // no entry up to here is left
}

const (
	recentMessages  = 256
	spanMessages    = 64
	messageOverhead = 64 // what a message takes on the disk beyond its data
)

// NewShared makes the index of a stream that several nodes share. window is
// how many bytes of the newest messages an entry may be in.
func NewShared(bounds *topic.Bounds, e Epochs, window int64) *Index {
	x := New(bounds)
	x.Shared = &Chain{Epochs: e, window: window}
	return x
}

// count counts a message, and returns the number before which all are outside
// the window.
func (c *Chain) count(number uint64, bytes int) (before uint64) {
	span := number / spanMessages
	if len(c.spans) == 0 {
		c.span = span
	}
	for c.span+uint64(len(c.spans)) <= span {
		c.spans = append(c.spans, 0)
	}
	size := int64(bytes) + messageOverhead
	c.spans[len(c.spans)-1] += size
	c.bytes += size
	for c.bytes > c.window && len(c.spans) > 1 {
		c.bytes -= c.spans[0]
		c.spans = c.spans[1:]
		c.span++
	}
	return c.span * spanMessages
}

// came notes that a message is the newest one, whether it counts or not.
func (x *Index) came(number, id uint64) {
	x.Message = number
	x.Shared.Last, x.Shared.recent[number%recentMessages] = id, id
}

// MayHave reports whether a message that has come may be the one of that id.
func (x *Index) MayHave(number, id uint64) bool {
	had := x.Shared.recent[number%recentMessages]
	return x.Message-number >= recentMessages || had == 0 || had == id
}

// loseBefore removes all entries of the messages before a number.
func (x *Index) loseBefore(number uint64) {
	for {
		var first *Item
		for it := range x.Order.After(x.Shared.oldest) {
			if it.Live() {
				first = it
				break
			}
			x.Shared.oldest = it.Seq
		}
		if first == nil || first.Value.Message >= number {
			return
		}
		x.remove(x.TopicOf(first))
	}
}

// ErrDiverged says that the stream is not the one that this node has followed.
var ErrDiverged = errors.New("jetlog: the stream is not what it was: its end was lost, or somebody else has changed it")

// Follow makes the next message of a shared stream part of the index. It calls
// see, unless that is nil, with each entry, and the earlier one that it
// supersedes, or 0. It reports whether the message counts.
func (x *Index) Follow(number uint64, b []byte, see func(m *message.Message, seq uint64, name string, d *topic.Draft, earlier uint64)) (counts bool, err error) {
	c := x.Shared
	m := message.Read(b)
	if m.Err == nil && !m.Shared {
		m.Err = message.ErrFormat
	}
	if m.Err != nil {
		return false, fmt.Errorf("message %d: %w", number, m.Err)
	}
	next := number == x.Message+1
	switch {
	case m.Link.After != number-1:
		x.came(number, m.Link.ID)
		return false, nil
	case next && m.Link.Before != c.Last, m.First <= x.End, next && c.begun && m.First != x.End+1, m.Link.Clock < x.Clock, m.Link.Epoch == 0:
		return false, fmt.Errorf("message %d: %w", number, ErrDiverged)
	}
	if n := len(c.Epochs); n == 0 || c.Epochs[n-1].Number != m.Link.Epoch {
		c.Epochs = append(c.Epochs, Epoch{m.Link.Epoch, m.First})
	}
	c.begun, x.Clock = true, m.Link.Clock
	if m.First > x.End+1 { // what was before is no longer there
		x.Missing(m.First - 1)
		x.End = m.First - 1
	}
	for x.Expire(m.Nanos) {
	}
	x.loseBefore(c.count(number, len(b)))
	x.came(number, m.Link.ID)
	c.Nanos = m.Nanos
	a := &x.reading
	for seq := m.First; m.Next(a); seq = x.End + 1 {
		t, name := x.Find(a.Topic)
		if a.Unkept > 0 {
			x.End = seq + uint64(a.Unkept) - 1
		}
		for i := range a.Drafts {
			var earlier uint64
			t, earlier = x.Append(t, name, &a.Drafts[i], seq+uint64(i), number, m.Nanos)
			if see != nil {
				see(&m, seq+uint64(i), name, &a.Drafts[i], earlier)
			}
		}
		x.Remember(name, a.Key, seq, number, m.Nanos)
	}
	if m.Err != nil {
		return false, fmt.Errorf("message %d: %w", number, m.Err)
	}
	x.Bound()
	return true, nil
}
