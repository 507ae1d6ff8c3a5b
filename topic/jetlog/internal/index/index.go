// Package index knows which entries a log has: which topic each is of, and in which
// message its content is. It decides what retention removes, and remembers what was
// lost. It does no I/O, has no clock, and is guarded by whoever has it.
package index

import (
	"strings"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

// An Index is the whole of it. Its fields are read by whoever has its lock; only
// what begins an epoch, or finds that the end of the log is lost, sets End and
// Clock.
type Index struct {
	End     uint64 // the newest sequence number
	Message uint64 // the newest message
	Clock   uint64 // the loss clock
	Bytes   int64  // that count to RetainBytes
	Holes   uint64 // entries that the store lacked when it was read, between others
	Window  int64  // for which keys are remembered, in nanoseconds

	Order  keep.Order[Stored]
	Names  keep.Names[*Topic] // the known topics
	Keys   keep.Keys
	Shared *Chain // nil if the stream is this log's own

	topics   map[string]*Topic
	numbered []*Topic // by number-1; nil where a number is free
	free     []uint32 // numbers

	rules       *topic.Rules
	policies    map[*topic.Rule]*keep.Policy
	ages        []*keep.Age
	retainBytes int64
	front       uint64 // no event up to here is left

	newestLost uint64             // of any topic
	losses     keep.Order[*Topic] // the known topics that have lost something, by when they last have
	lost       uint64             // how often that was, which numbers them

	// Of topics whose events supersede those of their type.
	newestOfType map[typeOf]uint64
	types        map[uint64]string

	carried map[uint64]carriedEntry // what the store of old entries has, until the first message is replayed
	reading message.Append          // reused by each message that is made part of the index
}

// New makes an empty index. The bounds are numbers to compare with (keep.Default).
func New(bounds *topic.Bounds) *Index {
	x := &Index{
		rules:        bounds.Rules,
		retainBytes:  bounds.RetainBytes,
		Window:       int64(bounds.IdempotencyWindow),
		topics:       make(map[string]*Topic),
		newestOfType: make(map[typeOf]uint64),
		types:        make(map[uint64]string),
	}
	x.setPolicies(bounds)
	return x
}

// newTopic makes a topic known.
func (x *Index) newTopic(name string, p *keep.Policy) *Topic {
	t := &Topic{name: strings.Clone(name), policy: p}
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
	x.Names.Add(t)
	return t
}

// Topic returns a topic; nil if it is not known.
func (x *Index) Topic(name string) *Topic { return x.topics[name] }

// Known returns how many topics are known.
func (x *Index) Known() int { return len(x.topics) }

// TopicOf returns the topic of an item that is live.
func (x *Index) TopicOf(it *Item) *Topic { return x.numbered[it.Value.topic-1] }

// Find returns a topic, nil if it is not known, and its name as a string that may
// be kept.
func (x *Index) Find(name []byte) (*Topic, string) {
	if t := x.topics[string(name)]; t != nil { // without making a string
		return t, t.name
	}
	return nil, string(name)
}

// Append makes an entry the newest of the log, and applies the limits of its
// topic, which is t, or nil if that is not known. It returns the topic if it is
// known now, and the entry that this one has superseded, if there is one.
func (x *Index) Append(t *Topic, name string, d *topic.Draft, seq, message uint64, nanos int64) (now *Topic, earlier uint64) {
	x.End = seq
	if message&CarriedBit == 0 {
		x.Message = message
	}
	if t == nil {
		policy := x.policies[x.rules.Of(name)]
		if policy.Rule.Ephemeral() && !d.IsEnd() {
			return nil, 0
		}
		t = x.newTopic(name, policy)
	}
	it := Stored{Message: message, Nanos: nanos, topic: t.number, size: uint32(len(d.Data))}
	t.push(seq)
	if d.IsEnd() {
		it.size = endSize
		t.Ended = true
	} else {
		t.Bytes += int64(len(d.Data))
		x.Bytes += Cost(len(d.Data))
		earlier = x.supersede(t, seq, d.Type)
	}
	x.Order.Push(seq, it)
	t.policy.Age.Expires = min(t.policy.Age.Expires, t.policy.Age.Expiry(nanos))
	if t.Events() > t.policy.Events {
		x.remove(t)
		if earlier != 0 && (len(t.seqs) == 0 || earlier < t.seqs[0]) {
			earlier = 0
		}
	}
	return t, earlier
}

// Remember notes the key of an append, if it has one.
func (x *Index) Remember(name string, key topic.Key, first, message uint64, nanos int64) {
	if key.Value == "" || x.Window <= 0 {
		return
	}
	x.Keys.Add(&keep.Keyed{
		Key:     keep.Key{Topic: name, Value: key.Value},
		First:   first,
		Message: message,
		Digest:  key.Digest,
		Expires: nanos + x.Window,
	})
}
