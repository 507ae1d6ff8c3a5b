package jetlog

import (
	"strings"

	"github.com/duplexhq/duplex/internal/names"
	"github.com/duplexhq/duplex/topic"
)

// index knows which entries the log has: which topic each is of, and where its
// content is. It decides what retention removes, and remembers what was lost.
// It does no I/O, has no clock, and is guarded by whoever has it.
type index struct {
	rules       *topic.Rules
	policies    map[*topic.Rule]*policy
	ages        []*age
	retainBytes int64
	window      int64 // for which keys are remembered; Unix nanoseconds

	topics     map[string]*topicLog
	names      names.List[*topicLog] // of the topics
	numbered   []*topicLog           // by number-1; nil where a number is free
	free       []uint32              // numbers
	order      order
	end        uint64 // the newest sequence number
	message    uint64 // the newest message
	front      uint64 // no event up to here is left
	bytes      int64  // that count to retainBytes
	clock      uint64 // the loss clock
	shared     *chain // nil if the stream is this log's own
	newestLost uint64 // of any topic
	losses     lossNode
	keys       keys
	holes      uint64 // entries that the store lacked when it was read, between others

	// What the store of old entries has, until the first message is replayed.
	carried map[uint64]carriedEntry

	// Of topics whose events supersede those of their type.
	newestOfType map[typeOf]uint64
	types        map[uint64]string
}

func newIndex(opts *Options) *index {
	x := &index{
		rules:        opts.Rules,
		retainBytes:  opts.RetainBytes,
		window:       int64(opts.IdempotencyWindow),
		topics:       make(map[string]*topicLog),
		newestOfType: make(map[typeOf]uint64),
		types:        make(map[uint64]string),
	}
	x.losses.prev, x.losses.next = &x.losses, &x.losses
	x.setPolicies(opts)
	return x
}

// cost is what an event counts to the bytes of the log.
func cost(data int) int64 { return int64(data) + EntryOverhead }

// newTopic makes a topic known.
func (x *index) newTopic(name string, p *policy) *topicLog {
	t := &topicLog{name: strings.Clone(name), policy: p}
	if n := len(x.free); n > 0 {
		t.number = x.free[n-1]
		x.free = x.free[:n-1]
		x.numbered[t.number-1] = t
	} else {
		x.numbered = append(x.numbered, t)
		t.number = uint32(len(x.numbered))
	}
	// What was lost of it before, if it ever was known, is forgotten.
	if p.forgotten.seq > 0 {
		t.losses = &lossNode{topic: t, loss: p.forgotten}
	}
	x.topics[t.name] = t
	x.names.Add(t)
	return t
}

// forget removes a topic of which nothing is left.
func (x *index) forget(t *topicLog) {
	if n := t.losses; n != nil {
		f := &t.policy.forgotten
		*f = loss{max(f.seq, n.seq), max(f.at, n.at)}
		n.unlink()
		t.losses = nil
	}
	delete(x.topics, t.name)
	x.names.Remove(t)
	x.numbered[t.number-1] = nil
	x.free = append(x.free, t.number)
}

// lose notes that an entry of a topic was lost, now.
func (x *index) lose(t *topicLog, seq uint64) {
	n := t.losses
	if n == nil {
		n = &lossNode{topic: t}
		t.losses = n
	}
	n.unlink()
	n.loss = loss{max(n.seq, seq), x.clock}
	n.prev, n.next = &x.losses, x.losses.next
	n.prev.next, n.next.prev = n, n
}

// append makes an entry the newest of the log, and applies the limits of its
// topic, which is t, or nil if that is not known. It returns the topic if it is
// known now, and the entry that this one has superseded, if there is one.
func (x *index) append(t *topicLog, name string, d *topic.Draft, seq, message uint64, nanos int64) (now *topicLog, earlier uint64) {
	x.end = seq
	if message&carriedBit == 0 {
		x.message = message
	}
	if t == nil {
		policy := x.policies[x.rules.Of(name)]
		if policy.rule.Ephemeral() && !d.IsEnd() {
			return nil, 0
		}
		t = x.newTopic(name, policy)
	}
	it := item{seq: seq, message: message, nanos: nanos, topic: t.number, size: uint32(len(d.Data))}
	t.push(seq)
	if d.IsEnd() {
		it.size = endSize
		t.ended = true
	} else {
		t.bytes += int64(len(d.Data))
		x.bytes += cost(len(d.Data))
		earlier = x.supersede(t, seq, d.Type)
	}
	x.order.push(it)
	t.policy.age.expires = min(t.policy.age.expires, t.policy.age.expiry(nanos))
	if t.events() > t.policy.events {
		x.remove(t)
		if earlier != 0 && (len(t.seqs) == 0 || earlier < t.seqs[0]) {
			earlier = 0
		}
	}
	return t, earlier
}

// bound applies the limit of the log's bytes.
func (x *index) bound() {
	for x.bytes > x.retainBytes {
		x.remove(x.oldest())
	}
}

// oldest returns the topic that has the oldest event of the log as its first
// entry; nil if there are no events.
func (x *index) oldest() *topicLog {
	for it := range x.order.after(x.front) {
		if it.live() && !it.isEnd() {
			return x.numbered[it.topic-1]
		}
		x.front = it.seq
	}
	return nil
}

// remove removes the first entry of the topic, and the topic if nothing is
// left of it.
func (x *index) remove(t *topicLog) { x.removeAt(t, 0) }

// removeAt removes an entry of the topic, wherever it stands.
func (x *index) removeAt(t *topicLog, i int) {
	seq := t.seqs[i]
	superseded := !(t.ended && len(t.seqs) == 1) && x.superseded(t, seq)
	if typ, ok := x.types[seq]; ok {
		delete(x.types, seq)
		if k := (typeOf{t, typ}); x.newestOfType[k] == seq {
			delete(x.newestOfType, k)
		}
	}
	t.remove(i)
	it := x.order.drop(seq)
	if it.isEnd() {
		t.ended = false
	} else {
		t.bytes -= int64(it.size)
		x.bytes -= cost(int(it.size))
	}
	if !superseded {
		if x.shared == nil { // else the messages say it
			x.clock = max(x.clock+1, x.end)
		}
		x.newestLost = max(x.newestLost, seq)
		x.lose(t, seq)
	}
	if len(t.seqs) == 0 {
		x.forget(t)
	}
}

// loseMessage removes all entries of a message, and returns how many there
// were.
func (x *index) loseMessage(number uint64) (lost int) {
	var seqs []uint64
	for it := range x.order.after(0) {
		if it.live() && it.message == number && !it.isEnd() {
			seqs = append(seqs, it.seq)
		}
	}
	for _, seq := range seqs {
		t := x.numbered[x.order.find(seq).topic-1]
		x.removeAt(t, t.after(seq-1))
	}
	return len(seqs)
}

// expireItems bounds how many entries and keys are let go at once, so that
// nobody waits long for the lock when a burst comes of age.
const expireItems = 1024

// expires returns when the oldest entry is over age, or earlier.
func (x *index) expires() int64 {
	at := int64(never)
	for _, a := range x.ages {
		at = min(at, a.expires)
	}
	return at
}

// expire lets go of entries and keys that are over age, and reports whether
// there may be more.
func (x *index) expire(now int64) (more bool) {
	n := 0
	for n < expireItems && x.keys.expire(now) {
		n++
	}
	for _, a := range x.ages {
		for now >= a.expires {
			if n++; n > expireItems {
				return true
			}
			it := x.oldestOf(a)
			if it == nil {
				a.expires = never
				break
			}
			if a.expires = a.expiry(it.nanos); now >= a.expires {
				x.remove(x.numbered[it.topic-1])
			}
		}
	}
	return n >= expireItems
}

// oldestOf returns the oldest entry of the topics that have this age; nil if
// there is none.
func (x *index) oldestOf(a *age) *item {
	for it := range x.order.after(a.front) {
		if it.live() && x.numbered[it.topic-1].policy.age == a {
			return it
		}
		a.front = it.seq
	}
	return nil
}

// missing notes that entries up to seq were lost of topics that nobody knows.
func (x *index) missing(seq uint64) {
	if x.shared == nil {
		x.clock = max(x.clock+1, x.end, seq)
	}
	x.newestLost = max(x.newestLost, seq)
	for _, p := range x.policies {
		p.forgotten = loss{max(p.forgotten.seq, seq), x.clock}
	}
	for _, t := range x.topics {
		x.lose(t, seq)
	}
}
