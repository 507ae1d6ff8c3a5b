package memlog

import (
	"time"

	"github.com/duplexhq/duplex/topic"
)

// expireItems bounds how many events and keys are let go at once, so that
// nobody waits long for the lock when a burst comes of age.
const expireItems = 1024

// cost is what an event counts to RetainBytes.
func cost(e *topic.Entry) int64 { return int64(len(e.Data)) + EntryOverhead }

// expiry returns when an event is over age.
func (l *Log) expiry(e *topic.Entry) int64 {
	taken, age := e.Time().UnixNano(), int64(l.opts.RetainAge)
	if taken > never-age {
		return never
	}
	return taken + age
}

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

// expire lets go of events and keys that are over age, and reports whether
// there may be more.
func (l *Log) expire(now int64) (more bool) {
	n := 0
	for n < expireItems && l.keys.expire(now) {
		n++
	}
	for now >= l.expires {
		if n++; n > expireItems {
			return true
		}
		t := l.oldest()
		if t == nil {
			l.expires = never
			return false
		}
		if l.expires = l.expiry(t.at(0)); now >= l.expires {
			l.lose(t)
		}
	}
	return n >= expireItems
}

// oldest returns the topic that has the oldest event of the log as its first
// entry; nil if there are no events.
func (l *Log) oldest() *topicLog {
	for it := range l.order.after(l.front) {
		// The events of a topic lie before its end in the order, so its first
		// entry is the end only if they are gone.
		if it.live() && !it.topic.at(0).IsEnd() {
			return it.topic
		}
		l.front = it.seq
	}
	return nil
}

// lose removes the first event of the topic, and forgets the topic if nothing
// is left of it.
func (l *Log) lose(t *topicLog) {
	e := t.pop()
	t.bytes -= int64(len(e.Data))
	l.bytes -= cost(e)
	l.clock = max(l.clock+1, l.end)
	l.newestLost = max(l.newestLost, e.ID.Seq)
	t.lost = loss{e.ID.Seq, l.clock}
	l.order.drop(e.ID.Seq)
	if t.next != nil {
		t.prev.next, t.next.prev = t.next, t.prev
	}
	if t.count > 0 {
		t.prev, t.next = &l.losses, l.losses.next
		t.prev.next, t.next.prev = t, t
		return
	}
	t.prev, t.next = nil, nil
	l.forgotten.seq = max(l.forgotten.seq, t.lost.seq)
	l.forgotten.at = t.lost.at // the clock's present time
	delete(l.topics, t.name)
}
