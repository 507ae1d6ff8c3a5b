package memlog

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/topic"
)

var errNothing = errors.New("memlog: append of nothing")

// Append stores the drafts as entries of the topic. It does not look at its
// context, as it waits for nothing.
func (l *Log) Append(_ context.Context, name string, drafts []topic.Draft, key topic.Key) (topic.ID, error) {
	if len(drafts) == 0 {
		return topic.ID{}, errNothing
	}
	l.appending.Lock()
	defer l.appending.Unlock()
	now := time.Now()
	for _, d := range drafts { // outside mu: what allocates may have to help the collector
		l.batch = append(l.batch, &topic.Entry{Event: topic.NewEvent(topic.ID{}, name, d, now)})
	}
	defer func() {
		clear(l.batch)
		l.batch = l.batch[:0]
	}()
	first, stored, err := l.store(name, key, now.UnixNano())
	if stored && l.watcher != nil {
		l.watcher(l.batch)
	}
	return first, err
}

// store gives the entries of the batch their ids and makes them part of the
// log, unless there is an error or the key is a repeated one.
func (l *Log) store(name string, key topic.Key, now int64) (first topic.ID, stored bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return topic.ID{}, false, topic.ErrClosed
	}
	l.expire(now)
	keyed := key.Value != "" && l.opts.IdempotencyWindow > 0
	if keyed {
		if r := l.keys.find(name, key.Value, now); r != nil {
			if r.digest != key.Digest {
				return topic.ID{}, false, topic.ErrKeyReused
			}
			return l.id(r.first), false, nil
		}
	}
	t := l.topics[name]
	endsBefore := func(e *topic.Entry) bool { return e.IsEnd() && e != l.batch[len(l.batch)-1] }
	switch {
	case t != nil && t.ended(), slices.ContainsFunc(l.batch, endsBefore):
		return topic.ID{}, false, topic.ErrEnded
	case t == nil && len(l.topics) >= l.opts.MaxTopics:
		return topic.ID{}, false, topic.ErrTooManyTopics
	case keyed && len(l.keys.byName) >= l.opts.MaxKeys:
		return topic.ID{}, false, topic.ErrTooManyKeys
	case t == nil:
		// What was lost of it before, if it ever was known, is forgotten.
		t = &topicLog{name: strings.Clone(name), lost: l.forgotten}
		l.topics[t.name] = t
	}
	first = l.id(l.end + 1)
	for _, e := range l.batch {
		l.end++
		e.ID, e.Topic = l.id(l.end), t.name
		l.order.push(l.end, t)
		t.push(e)
		if e.IsEnd() {
			continue
		}
		t.bytes += int64(len(e.Data))
		l.bytes += cost(e)
		l.expires = min(l.expires, l.expiry(e))
		if t.events() > l.opts.RetainEvents {
			l.lose(t)
		}
	}
	for l.bytes > l.opts.RetainBytes {
		l.lose(l.oldest())
	}
	if keyed {
		l.keys.add(&remembered{
			name:    keyName{t.name, strings.Clone(key.Value)},
			first:   first.Seq,
			digest:  key.Digest,
			expires: now + int64(l.opts.IdempotencyWindow),
		})
	}
	return first, true, nil
}

// Watch sets the watcher. The slice that f gets is valid until f returns, the
// entries are for ever.
func (l *Log) Watch(f func([]*topic.Entry)) topic.ID {
	l.appending.Lock()
	defer l.appending.Unlock()
	l.watcher = f
	return l.End()
}
