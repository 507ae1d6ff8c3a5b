package jetlog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
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
		if m := message.Read(b); !l.index.MayHave(number, m.Link.ID) {
			return fmt.Errorf("message %d: %w", number, index.ErrDiverged)
		}
		return nil
	case number > at+1:
		return errHole
	}
	var entries []*topic.Entry
	l.mu.Lock()
	counts, err := l.index.Follow(number, b, func(m *message.Message, seq uint64, name string, d *topic.Draft, earlier uint64) {
		e := m.Entry(l.id(seq), name, *d)
		entries = append(entries, e)
		l.tail.push(entries[len(entries)-1:])
		if e := l.tail.entry(earlier); e != nil {
			e.Supersede()
		}
	})
	if err == nil && len(l.index.Shared.Epochs) > len(l.epochs) {
		err = fmt.Errorf("message %d begins an epoch: %w", number, index.ErrDiverged)
	}
	id := l.index.Shared.Last
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
	x, c := l.index, l.index.Shared
	nanos := max(time.Now().UnixNano(), c.Nanos)
	admitted := l.admit(group, nanos)
	k := message.Link{ID: rand.Uint64(), Before: c.Last, After: x.Message, Epoch: l.epochs.Newest()}
	first, clock, overdue := x.End+1, x.Clock, x.Overdue(nanos)
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
