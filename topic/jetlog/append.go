package jetlog

import (
	"context"
	"errors"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

var errNothing = errors.New("jetlog: append of nothing")

// Append stores the drafts as entries of the topic. When the context is done
// it returns at once; then the entries may or may not be stored. More than
// MaxAppendBytes are refused; on an external server, more than a message of it
// may take.
func (l *Log) Append(ctx context.Context, name string, drafts []topic.Draft, key topic.Key) (topic.ID, error) {
	if len(drafts) == 0 {
		return topic.ID{}, errNothing
	}
	p := &pending{topic: name, drafts: drafts, key: key, turn: make(chan turn, 1)}
	for i := range drafts {
		p.bytes += len(drafts[i].Data)
	}
	t, err := l.queue.enter(ctx, p)
	if err != nil {
		return topic.ID{}, err
	}
	if t == lead {
		l.lead(p)
	}
	return p.id, p.err
}

// lead appends the next group, as p, which is in it, has come to lead it.
func (l *Log) lead(p *pending) {
	var few [groupAppends]*pending
	most := groupAppends
	if l.opts.Fsync || l.remote != nil {
		most = syncGroupAppends
	}
	group := l.queue.group(few[:0], most)
	if l.remote == nil {
		l.appendGroup(group)
	} else {
		l.appendShared(group)
	}
	l.queue.finish(group, p)
}

// appendGroup appends all that it can of the group, in its order. Only the
// queue's leader calls it.
func (l *Log) appendGroup(group []*pending) {
	now := time.Now()
	l.mu.Lock()
	l.index.Expire(now.UnixNano())
	admitted := l.admit(group, now.UnixNano())
	first, err := l.index.End+1, l.failed
	l.mu.Unlock()
	if admitted > 0 && err == nil {
		err = l.appendAdmitted(group, first, now)
	}
	for _, p := range group {
		switch {
		case p.admitted && err != nil:
			p.err = err
		case p.admitted:
			p.id = l.id(p.first)
		case p.same != nil:
			p.id, p.err = p.same.id, p.same.err
		}
	}
}

// admit decides which appends of the group are to be stored, and returns how
// many these are. The others have their outcome. While the group is on its way
// nothing else is appended, so this holds until it is stored.
func (l *Log) admit(group []*pending, now int64) (admitted int) {
	x := l.index
	topics, keys := x.Known(), x.Keys.Len()
	var ending map[string]bool // topics that the group makes, and whether it ends them
	var using map[keep.Key]*pending
	for _, p := range group {
		if len(p.drafts) == 0 { // a tick
			p.admitted = true
			admitted++
			continue
		}
		keyed, used := p.key.Value != "" && x.Window > 0, keep.Key{Topic: p.topic, Value: p.key.Value}
		if keyed {
			if r := x.Keys.Find(used, now); r != nil {
				if p.id = l.id(r.First); r.Digest != p.key.Digest {
					p.id, p.err = topic.ID{}, topic.ErrKeyReused
				}
				continue
			}
			if other := using[used]; other != nil {
				if p.same = other; other.key.Digest != p.key.Digest {
					p.same, p.err = nil, topic.ErrKeyReused
				}
				continue
			}
		}
		t, ephemeral := x.Topic(p.topic), x.PolicyOf(p.topic).Rule.Ephemeral()
		ended, made := ending[p.topic]
		ends := p.ends()
		keeps := ends == endsLast || !ephemeral
		switch {
		case t != nil && t.Ended, ended, ends == endsBefore:
			p.err = topic.ErrEnded
			continue
		case t != nil && p.key.Overtaken(t.Newest()), p.key.Seen.Epoch != 0 && overtaken(group, p):
			p.err = topic.ErrUnseen
			continue
		case t == nil && !made && keeps && topics >= l.opts.MaxTopics:
			p.err = topic.ErrTooManyTopics
			continue
		case keyed && keys >= l.opts.MaxKeys:
			p.err = topic.ErrTooManyKeys
			continue
		}
		if len(group) > 1 && (ends == endsLast || t == nil && keeps) {
			if ending == nil {
				ending = make(map[string]bool)
			}
			ending[p.topic] = ends == endsLast
		}
		if t == nil && !made && keeps {
			topics++
		}
		if keyed {
			keys++
			if len(group) > 1 {
				if using == nil {
					using = make(map[keep.Key]*pending)
				}
				using[used] = p
			}
		}
		p.admitted = true
		admitted++
	}
	return admitted
}

// overtaken reports whether another append of the group that goes before this one
// is for the same topic.
func overtaken(group []*pending, p *pending) bool {
	for _, other := range group {
		if other == p {
			break
		}
		if other.admitted && len(other.drafts) > 0 && other.topic == p.topic {
			return true
		}
	}
	return false
}

// Where an append has the end of its topic.
const (
	endsNot = iota
	endsLast
	endsBefore // its last draft: what comes then is for an ended topic
)

func (p *pending) ends() int {
	for i := range p.drafts {
		if p.drafts[i].IsEnd() {
			if i < len(p.drafts)-1 {
				return endsBefore
			}
			return endsLast
		}
	}
	return endsNot
}

// appendAdmitted stores what is admitted of the group as one message, and makes
// it part of the log.
func (l *Log) appendAdmitted(group []*pending, first uint64, now time.Time) error {
	nanos := now.UnixNano()
	bytes := 32
	for _, p := range group {
		bytes += p.bytes + len(p.topic) + len(p.key.Value) + 64
	}
	body := message.AppendHeader(make([]byte, 0, bytes), first, nanos)
	entries := make([]*topic.Entry, 0, len(group))
	subject, seq := "", first
	for _, p := range group {
		if !p.admitted {
			continue
		}
		subject = l.subjectFor(p.topic, subject)
		body = l.encode(body, p)
		p.first = seq
		for _, d := range p.drafts {
			entries = append(entries, &topic.Entry{Event: topic.NewEvent(l.id(seq), p.topic, d, now)})
			seq++
		}
	}
	number, err := l.store.publish(subject, body)
	if errors.Is(err, errNotStored) {
		return err
	}
	if err == nil && l.mark != nil {
		err = l.mark.set(seq - 1)
	}
	if err != nil {
		return l.fail(err)
	}

	l.applying.Lock()
	defer l.applying.Unlock()
	l.mu.Lock()
	l.tail.push(entries)
	for _, p := range group {
		if p.admitted {
			l.apply(p, number, nanos)
		}
	}
	l.index.Bound()
	l.mu.Unlock()
	if l.watcher != nil {
		l.watcher(entries)
	}
	l.wrote(len(body))
	return nil
}

// subjectFor returns the subject of a message that holds events of the topic,
// and so far went to the subject before, if that is not "".
func (l *Log) subjectFor(name, before string) string {
	if !l.subjects || before == groupSubject {
		return groupSubject
	}
	if s := subjectOf(name); before == "" || before == s {
		return s
	}
	return groupSubject
}

// encode appends an append to a message. Events of an ephemeral topic are not
// stored: only that there were some.
func (l *Log) encode(body []byte, p *pending) []byte {
	if !l.opts.Rules.Of(p.topic).Ephemeral() {
		return message.AppendDrafts(body, p.topic, p.drafts, p.key)
	}
	last := len(p.drafts) - 1
	if !p.drafts[last].IsEnd() {
		return message.AppendUnkept(body, p.topic, len(p.drafts), p.key)
	}
	if last > 0 {
		body = message.AppendUnkept(body, p.topic, last, p.key)
		return message.AppendDrafts(body, p.topic, p.drafts[last:], topic.Key{})
	}
	return message.AppendDrafts(body, p.topic, p.drafts, p.key)
}

// apply makes an append of a stored message part of the index.
func (l *Log) apply(p *pending, number uint64, nanos int64) {
	t, earlier := l.index.Topic(p.topic), uint64(0)
	for i := range p.drafts {
		t, earlier = l.index.Append(t, p.topic, &p.drafts[i], p.first+uint64(i), number, nanos)
		if e := l.tail.entry(earlier); e != nil {
			e.Supersede()
		}
	}
	l.index.Remember(p.topic, p.key, p.first, number, nanos)
}
