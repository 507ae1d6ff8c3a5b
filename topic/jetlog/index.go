package jetlog

import (
	"math"
	"strings"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// index knows which entries the log has: which topic each is of, and where its
// content is. It decides what retention removes, and remembers what was lost.
// It does no I/O, has no clock, and is guarded by whoever has it.
type index struct {
	rules       *topic.Rules
	policies    map[*topic.Rule]*keep.Policy
	ages        []*keep.Age
	retainBytes int64
	window      int64 // for which keys are remembered; Unix nanoseconds

	topics     map[string]*topicLog
	names      keep.Names[*topicLog] // of the topics
	numbered   []*topicLog           // by number-1; nil where a number is free
	free       []uint32              // numbers
	order      keep.Order[stored]
	end        uint64                // the newest sequence number
	message    uint64                // the newest message
	front      uint64                // no event up to here is left
	bytes      int64                 // that count to retainBytes
	clock      uint64                // the loss clock
	shared     *chain                // nil if the stream is this log's own
	newestLost uint64                // of any topic
	losses     keep.Order[*topicLog] // the known topics that have lost something, by when they last have
	lost       uint64                // how often that was, which numbers them
	keys       keep.Keys
	holes      uint64 // entries that the store lacked when it was read, between others

	// What the store of old entries has, until the first message is replayed.
	carried map[uint64]carriedEntry

	// Of topics whose events supersede those of their type.
	newestOfType map[typeOf]uint64
	types        map[uint64]string
}

// item is an entry of the log without its content.
type item = keep.Item[stored]

// stored is what an item says of its entry. It has no pointers: there are
// millions.
type stored struct {
	message uint64 // where the content is
	nanos   int64  // Unix time
	topic   uint32 // its number
	size    uint32 // of the data; endSize for an end
}

const endSize = math.MaxUint32

func (s *stored) isEnd() bool { return s.size == endSize }

// bytes is the size of the data.
func (s *stored) bytes() int {
	if s.isEnd() {
		return 0
	}
	return int(s.size)
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
	x.setPolicies(opts)
	return x
}

// cost is what an event counts to the bytes of the log.
func cost(data int) int64 { return int64(data) + EntryOverhead }

// newTopic makes a topic known.
func (x *index) newTopic(name string, p *keep.Policy) *topicLog {
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
	if p.Forgotten.Seq > 0 {
		t.losses = &lastLoss{Loss: p.Forgotten}
	}
	x.topics[t.name] = t
	x.names.Add(t)
	return t
}

// find returns a topic, nil if it is not known, and its name as a string that may
// be kept.
func (x *index) find(name []byte) (*topicLog, string) {
	if t := x.topics[string(name)]; t != nil { // without making a string
		return t, t.name
	}
	return nil, string(name)
}

// forget removes a topic of which nothing is left.
func (x *index) forget(t *topicLog) {
	if n := t.losses; n != nil {
		f := &t.policy.Forgotten
		*f = keep.Loss{Seq: max(f.Seq, n.Seq), At: max(f.At, n.At)}
		x.unlist(n)
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
		n = new(lastLoss)
		t.losses = n
	}
	x.unlist(n)
	x.lost++
	*n = lastLoss{keep.Loss{Seq: max(n.Seq, seq), At: x.clock}, x.lost}
	x.losses.Push(x.lost, t)
}

func (x *index) unlist(n *lastLoss) {
	if n.listed > 0 {
		x.losses.Drop(n.listed)
	}
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
		if policy.Rule.Ephemeral() && !d.IsEnd() {
			return nil, 0
		}
		t = x.newTopic(name, policy)
	}
	it := stored{message: message, nanos: nanos, topic: t.number, size: uint32(len(d.Data))}
	t.push(seq)
	if d.IsEnd() {
		it.size = endSize
		t.ended = true
	} else {
		t.bytes += int64(len(d.Data))
		x.bytes += cost(len(d.Data))
		earlier = x.supersede(t, seq, d.Type)
	}
	x.order.Push(seq, it)
	t.policy.Age.Expires = min(t.policy.Age.Expires, t.policy.Age.Expiry(nanos))
	if t.events() > t.policy.Events {
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
	for it := range x.order.After(x.front) {
		if it.Live() && !it.Value.isEnd() {
			return x.numbered[it.Value.topic-1]
		}
		x.front = it.Seq
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
	it := x.order.Drop(seq)
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
	for it := range x.order.After(0) {
		if it.Live() && it.Value.message == number && !it.Value.isEnd() {
			seqs = append(seqs, it.Seq)
		}
	}
	for _, seq := range seqs {
		t := x.numbered[x.order.Find(seq).Value.topic-1]
		x.removeAt(t, t.after(seq-1))
	}
	return len(seqs)
}

// expires returns when the oldest entry is over age, or earlier.
func (x *index) expires() int64 {
	at := int64(keep.Never)
	for _, a := range x.ages {
		at = min(at, a.Expires)
	}
	return at
}

// expire lets go of entries and keys that are over age, and reports whether
// there may be more.
func (x *index) expire(now int64) (more bool) {
	n := 0
	for n < keep.ExpireItems && x.keys.Expire(now) {
		n++
	}
	for _, a := range x.ages {
		for now >= a.Expires {
			if n++; n > keep.ExpireItems {
				return true
			}
			it := x.oldestOf(a)
			if it == nil {
				a.Expires = keep.Never
				break
			}
			if a.Expires = a.Expiry(it.Value.nanos); now >= a.Expires {
				x.remove(x.numbered[it.Value.topic-1])
			}
		}
	}
	return n >= keep.ExpireItems
}

// oldestOf returns the oldest entry of the topics that have this age; nil if
// there is none.
func (x *index) oldestOf(a *keep.Age) *item {
	for it := range x.order.After(a.Front) {
		if it.Live() && x.numbered[it.Value.topic-1].policy.Age == a {
			return it
		}
		a.Front = it.Seq
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
		p.Forgotten = keep.Loss{Seq: max(p.Forgotten.Seq, seq), At: x.clock}
	}
	for _, t := range x.topics {
		x.lose(t, seq)
	}
}

// remember notes the key of an append, if it has one.
func (x *index) remember(name string, key topic.Key, first, message uint64, nanos int64) {
	if key.Value == "" || x.window <= 0 {
		return
	}
	x.keys.Add(&keep.Keyed{
		Key:     keep.Key{Topic: name, Value: key.Value},
		First:   first,
		Message: message,
		Digest:  key.Digest,
		Expires: nanos + x.window,
	})
}
