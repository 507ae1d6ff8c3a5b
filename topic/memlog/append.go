package memlog

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
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
		if r := l.keys.Find(keep.Key{Topic: name, Value: key.Value}, now); r != nil {
			if r.Digest != key.Digest {
				return topic.ID{}, false, topic.ErrKeyReused
			}
			return l.id(r.First), false, nil
		}
	}
	t, policy := l.topics[name], l.policyOf(name)
	keeps := !policy.Rule.Ephemeral() || l.batch[len(l.batch)-1].IsEnd()
	endsBefore := func(e *topic.Entry) bool { return e.IsEnd() && e != l.batch[len(l.batch)-1] }
	switch {
	case t != nil && t.ended(), slices.ContainsFunc(l.batch, endsBefore):
		return topic.ID{}, false, topic.ErrEnded
	case t != nil && t.Len() > 0 && key.Overtaken(t.Seq(t.Len()-1)):
		return topic.ID{}, false, topic.ErrUnseen
	case t == nil && keeps && len(l.topics) >= l.opts.MaxTopics:
		return topic.ID{}, false, topic.ErrTooManyTopics
	case keyed && l.keys.Len() >= l.opts.MaxKeys:
		return topic.ID{}, false, topic.ErrTooManyKeys
	case t == nil && keeps:
		t = l.newTopic(name, policy)
	}
	first = l.id(l.end + 1)
	for _, e := range l.batch {
		l.end++
		e.ID = l.id(l.end)
		if t != nil {
			e.Topic = t.name
		}
		if !policy.Rule.Ephemeral() || e.IsEnd() {
			l.keep(t, e)
		}
	}
	for l.bytes > l.opts.RetainBytes {
		l.remove(l.oldestEvent())
	}
	if keyed {
		l.keys.Add(&keep.Keyed{
			Key:     keep.Key{Topic: strings.Clone(name), Value: strings.Clone(key.Value)},
			First:   first.Seq,
			Digest:  key.Digest,
			Expires: now + int64(l.opts.IdempotencyWindow),
		})
	}
	return first, true, nil
}

// newTopic makes a topic known. What was lost of it before, if it ever was
// known, is forgotten.
func (l *Log) newTopic(name string, p *keep.Policy) *topicLog {
	t := &topicLog{name: strings.Clone(name), policy: l.policyOfRule[p.Rule], gone: p.Forgotten}
	if p.Supersedes && p.Forgotten.At != 0 {
		l.lostBeside[t] = p.Forgotten
	}
	l.topics[t.name] = t
	l.names.Add(t)
	return t
}

// keep makes the newest entry of the log one of its topic.
func (l *Log) keep(t *topicLog, e *topic.Entry) {
	l.order.Push(l.end, t)
	t.push(e)
	p := l.policies[t.policy]
	a := p.Age
	if a.Expires == keep.Never { // it had no entries
		a.Front = l.end - 1
	}
	a.Expires = min(a.Expires, a.Expiry(e.Time().UnixNano()))
	l.expires = min(l.expires, a.Expires)
	if e.IsEnd() {
		return
	}
	t.bytes += int64(len(e.Data))
	l.bytes += cost(e)
	l.supersede(t, e)
	if t.events() > p.Events {
		l.remove(t)
	}
}

// Watch sets the watcher. The slice that f gets is valid until f returns, the
// entries are for ever.
func (l *Log) Watch(f func([]*topic.Entry)) topic.ID {
	l.appending.Lock()
	defer l.appending.Unlock()
	l.watcher = f
	return l.End()
}
