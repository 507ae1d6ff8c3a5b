package memlog

import (
	"cmp"
	"slices"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// cost is what an event counts to RetainBytes.
func cost(e *topic.Entry) int64 { return int64(len(e.Data)) + EntryOverhead }

// rlock locks mu for reading, once nothing that is over age is left.
func (l *Log) rlock() error {
	for {
		l.mu.RLock()
		if l.closed {
			l.mu.RUnlock()
			return topic.ErrClosed
		}
		if time.Now().UnixNano() < l.expires {
			return nil
		}
		l.mu.RUnlock()
		l.expireSome()
	}
}

// expireSome reports whether it has left something that is over age.
func (l *Log) expireSome() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now().UnixNano()
	return l.expire(now) && !l.closed
}

// expire lets go of entries and keys that are over age, and reports whether
// there may be more.
func (l *Log) expire(now int64) (more bool) {
	n := 0
	for n < keep.ExpireItems && l.keys.Expire(now) {
		n++
	}
	most := keep.SearchItems
	for now >= l.expires {
		if n++; n > keep.ExpireItems {
			return true
		}
		a := slices.MinFunc(l.ages, func(a, b *keep.Age) int { return cmp.Compare(a.Expires, b.Expires) })
		if now >= a.Expires {
			t, found := l.oldestOf(a, &most)
			if !found {
				return true
			}
			if t == nil {
				a.Expires = keep.Never
			} else if a.Expires = a.Expiry(t.at(0).Time().UnixNano()); now >= a.Expires {
				l.remove(t)
			}
			continue
		}
		l.expires = a.Expires
	}
	return n >= keep.ExpireItems
}

// oldestOf returns the topic that has the oldest entry with an age limit as
// its first entry; nil if there is none. It is not found if the search, which
// may look at most items, does not get there: call again.
func (l *Log) oldestOf(a *keep.Age, most *int) (t *topicLog, found bool) {
	for it := range l.order.After(a.Front) {
		if it.Live() && l.policies[it.Value.policy].Age == a {
			return it.Value, true
		}
		a.Front = it.Seq
		if *most--; *most <= 0 {
			return nil, false
		}
	}
	return nil, true
}

// oldestEvent returns the topic that has the oldest event of the log as its
// first entry; nil if there are no events.
func (l *Log) oldestEvent() *topicLog {
	for it := range l.order.After(l.front) {
		// The events of a topic lie before its end in the order, so its first
		// entry is the end only if they are gone.
		if it.Live() && !it.Value.at(0).IsEnd() {
			return it.Value
		}
		l.front = it.Seq
	}
	return nil
}

// remove removes the first entry of the topic, which is lost unless it was
// superseded, and forgets the topic if nothing is left of it.
func (l *Log) remove(t *topicLog) {
	e := t.pop()
	if !e.IsEnd() {
		t.bytes -= int64(len(e.Data))
		l.bytes -= cost(e)
	}
	p := l.policies[t.policy]
	if k := (typeOf{t, e.Type}); p.ByType && l.newestOfType[k] == e {
		delete(l.newestOfType, k)
	}
	lostAt := t.gone.At
	t.gone.Seq = e.ID.Seq
	l.order.Drop(e.ID.Seq)
	if e.Superseded() && t.count > 0 {
		return
	}
	l.clock = max(l.clock+1, l.end)
	l.newestLost = max(l.newestLost, e.ID.Seq)
	t.gone.At = l.clock
	if t.listed {
		l.losses.Drop(lostAt)
	}
	if t.listed = t.count > 0; t.listed {
		l.losses.Push(l.clock, t)
		if p.Supersedes {
			l.lostBeside[t] = t.gone
		}
		return
	}
	p.Forgotten = keep.Loss{Seq: max(p.Forgotten.Seq, t.gone.Seq), At: l.clock}
	delete(l.topics, t.name)
	delete(l.lostBeside, t)
	l.names.Remove(t)
}
