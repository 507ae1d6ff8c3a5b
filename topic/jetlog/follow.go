package jetlog

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

// Several nodes may write to one stream. What the log holds is what the stream
// says, to all of them alike:
//
// A node writes a message only when it knows all messages before it. So it
// knows which keys are in use, which topics were ended, and which number comes
// next; it says in the message which one it has seen last, and has the stream
// refuse the message if another one has come meanwhile. Should the stream store
// it all the same, then the number in it is not that of the message before, and
// all nodes leave it out.
//
// Retention goes by the messages, too: by the times that are in them, never by
// a node's own clock, and the loss clock is what the messages say it is. So a
// cursor that was told of losses by one node has been told of the same losses
// on any other.

// A chain is what an index knows of a stream that several nodes share.
type chain struct {
	begun  bool   // some message has counted
	last   uint64 // the id of the newest message
	nanos  int64  // its time; times do not go back
	epochs []epoch
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

func newChain(epochs []epoch, retainBytes int64) *chain {
	c := &chain{epochs: epochs, window: math.MaxInt64}
	if retainBytes < (math.MaxInt64-diskSlack)/2 {
		c.window = 2*retainBytes + diskSlack
	}
	return c
}

// count counts a message, and returns the number before which all are outside
// the window.
func (c *chain) count(number uint64, bytes int) (before uint64) {
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

// loseBefore removes all entries of the messages before a number.
func (x *index) loseBefore(number uint64) {
	for {
		var first *item
		for it := range x.order.After(x.shared.oldest) {
			if it.Live() {
				first = it
				break
			}
			x.shared.oldest = it.Seq
		}
		if first == nil || first.Value.message >= number {
			return
		}
		x.remove(x.numbered[first.Value.topic-1])
	}
}

// errDiverged says that the stream is not the one that this node has followed.
var errDiverged = errors.New("jetlog: the stream is not what it was: its end was lost, or somebody else has changed it")

// follow makes the next message of a shared stream part of the index. It calls
// see, unless that is nil, with each entry, and the earlier one that it
// supersedes, or 0. It reports whether the message counts.
func (x *index) follow(number uint64, b []byte, see func(m *message.Message, seq uint64, name string, d *topic.Draft, earlier uint64)) (counts bool, err error) {
	c := x.shared
	m := message.Read(b)
	if m.Err == nil && !m.Shared {
		m.Err = message.ErrFormat
	}
	if m.Err != nil {
		return false, fmt.Errorf("message %d: %w", number, m.Err)
	}
	next := number == x.message+1
	switch {
	case m.Link.After != number-1:
		x.message, c.last, c.recent[number%recentMessages] = number, m.Link.ID, m.Link.ID
		return false, nil
	case next && m.Link.Before != c.last, m.First <= x.end, next && c.begun && m.First != x.end+1, m.Link.Clock < x.clock, m.Link.Epoch == 0:
		return false, fmt.Errorf("message %d: %w", number, errDiverged)
	}
	if n := len(c.epochs); n == 0 || c.epochs[n-1].number != m.Link.Epoch {
		c.epochs = append(c.epochs, epoch{m.Link.Epoch, m.First})
	}
	c.begun, x.clock = true, m.Link.Clock
	if m.First > x.end+1 { // what was before is no longer there
		x.missing(m.First - 1)
		x.end = m.First - 1
	}
	for x.expire(m.Nanos) {
	}
	x.loseBefore(c.count(number, len(b)))
	x.message, c.last, c.recent[number%recentMessages], c.nanos = number, m.Link.ID, m.Link.ID, m.Nanos
	var a message.Append
	for seq := m.First; m.Next(&a); seq = x.end + 1 {
		t, name := x.find(a.Topic)
		if a.Unkept > 0 {
			x.end = seq + uint64(a.Unkept) - 1
		}
		for i := range a.Drafts {
			var earlier uint64
			t, earlier = x.append(t, name, &a.Drafts[i], seq+uint64(i), number, m.Nanos)
			if see != nil {
				see(&m, seq+uint64(i), name, &a.Drafts[i], earlier)
			}
		}
		x.remember(name, a.Key, seq, number, m.Nanos)
	}
	if m.Err != nil {
		return false, fmt.Errorf("message %d: %w", number, m.Err)
	}
	x.bound()
	return true, nil
}

// errHole says that a message comes too early: those before it are missing.
var errHole = errors.New("jetlog: messages are missing")

// follow makes a message of a shared stream part of the log, if it is the next
// one. An earlier one is part of it already. After any error but errHole the log
// cannot go on.
func (l *Log) follow(number uint64, b []byte) error {
	l.applying.Lock()
	defer l.applying.Unlock()
	switch at := l.messages(); {
	case number <= at:
		m := message.Read(b)
		if was := l.index.shared.recent[number%recentMessages]; at-number < recentMessages && was != 0 && was != m.Link.ID {
			return fmt.Errorf("message %d: %w", number, errDiverged)
		}
		return nil
	case number > at+1:
		return errHole
	}
	var entries []*topic.Entry
	l.mu.Lock()
	counts, err := l.index.follow(number, b, func(m *message.Message, seq uint64, name string, d *topic.Draft, earlier uint64) {
		e := m.Entry(l.id(seq), name, *d)
		entries = append(entries, e)
		l.tail.push(entries[len(entries)-1:])
		if e := l.tail.entry(earlier); e != nil {
			e.Supersede()
		}
	})
	if err == nil && len(l.index.shared.epochs) > len(l.epochs) {
		err = fmt.Errorf("message %d begins an epoch: %w", number, errDiverged)
	}
	id := l.index.shared.last
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if l.watcher != nil && len(entries) > 0 {
		l.watcher(entries)
	}
	l.remote.change(func() {
		l.remote.known = number
		if counts && id == l.remote.wanted {
			l.remote.arrived = true
		}
	})
	return nil
}

// appendShared appends the group to a stream that other nodes write to, too.
// Only the queue's leader calls it.
func (l *Log) appendShared(group []*pending) {
	for {
		err := l.Ready()
		if errors.Is(err, ErrUnavailable) {
			err = l.remote.unavailable(l.remote.patience)
		}
		stored := false
		if err == nil {
			stored, err = l.attempt(group)
		}
		switch {
		case err == nil && !stored:
			for _, p := range group {
				p.admitted, p.same, p.id, p.err = false, nil, topic.ID{}, nil
			}
			continue
		case err != nil:
			for _, p := range group {
				if p.admitted || p.id.Epoch == 0 && p.err == nil {
					p.id, p.err = topic.ID{}, err
				}
			}
			return
		}
		for _, p := range group {
			switch {
			case p.admitted:
				p.id = l.id(p.first)
			case p.same != nil:
				p.id, p.err = p.same.id, p.same.err
			}
		}
		return
	}
}

// attempt admits the group by all that this node knows, and stores it unless
// another node comes first.
func (l *Log) attempt(group []*pending) (stored bool, err error) {
	l.remote.giveWay()
	l.mu.RLock()
	x, c := l.index, l.index.shared
	nanos := max(time.Now().UnixNano(), c.nanos)
	admitted := l.admit(group, nanos)
	k := message.Link{ID: rand.Uint64(), Before: c.last, After: x.message, Epoch: l.epochs[len(l.epochs)-1].number}
	first, clock, overdue := x.end+1, x.clock, x.overdue(nanos)
	l.mu.RUnlock()
	if admitted < len(group) && overdue {
		// What is over age may stand in the way: it goes first.
		for _, p := range group {
			p.admitted = false
		}
		admitted = 0
	} else if admitted == 0 {
		return true, nil
	}
	var body []byte
	seq := first
	for _, p := range group {
		if p.admitted {
			p.first = seq
			if len(p.drafts) > 0 { // else it is a tick
				body = message.AppendDrafts(body, p.topic, p.drafts, p.key)
			}
			seq += uint64(len(p.drafts))
		}
	}
	k.Clock = max(clock+1, seq-1)
	whole := append(message.AppendSharedHeader(make([]byte, 0, len(body)+64), first, nanos, k), body...)
	stored, err = l.remote.publish(k.After, k.ID, whole)
	return stored && admitted > 0, err
}

// overdue reports whether there is something over age.
func (x *index) overdue(nanos int64) bool {
	k := x.keys.Oldest()
	return nanos >= x.expires() || k != nil && nanos >= k.Expires
}
