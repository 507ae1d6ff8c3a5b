package jetlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"strings"

	"github.com/duplexhq/duplex/topic/internal/keep"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

// A snapshot is the index as it was when the log was closed. It saves reading
// the log from its beginning, and knows of losses what the log does not say.
//
//	magic, options      texts: a snapshot is good for the same options only
//	end, message, clock, newest lost
//	forgotten           seq and at, of each policy
//	topics              count, then name, lost seq and at
//	items               count, then seq, message, nanos: as differences; topic, size+1 or 0 for an end
//	types               count, then seq, type
//	keys                count, then topic, value, first, message, expires, digest
//	checksum            4 bytes, little endian: CRC-32C of all before
const snapshotMagic = "duplex index 1"

var (
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
	errSnapshot = errors.New("jetlog: the snapshot of the index is damaged")
)

// fingerprint says what of the options the index depends on.
func (o *Options) fingerprint() string {
	var s strings.Builder
	fmt.Fprint(&s, o.RetainEvents, int64(o.RetainAge), o.RetainBytes)
	for r := range o.Rules.All() {
		events := -1
		if r.RetainEvents != nil {
			events = *r.RetainEvents
		}
		fmt.Fprintf(&s, " %q %d %d %d", r.Pattern.String(), events, int64(r.RetainAge), r.Slow)
	}
	return s.String()
}

// snapshot appends the snapshot of the index.
func (x *index) snapshot(dst []byte, o *Options) []byte {
	put := func(numbers ...uint64) {
		for _, n := range numbers {
			dst = binary.AppendUvarint(dst, n)
		}
	}
	dst = message.AppendText(dst, snapshotMagic)
	dst = message.AppendText(dst, o.fingerprint())
	put(x.end, x.message, x.clock, x.newestLost)
	for r := range o.Rules.All() {
		f := x.policies[r].Forgotten
		put(f.Seq, f.At)
	}
	put(uint64(len(x.topics)))
	ordinals := make([]uint64, len(x.numbered)+1)
	n := uint64(0)
	// From the oldest loss to the newest, so that they are listed so again.
	write := func(t *topicLog) {
		ordinals[t.number] = n
		n++
		dst = message.AppendText(dst, t.name)
		put(t.lost().Seq, t.lost().At)
	}
	for _, t := range x.numbered {
		if t != nil && (t.losses == nil || t.losses.listed == 0) {
			write(t)
		}
	}
	for it := range x.losses.After(0) {
		if it.Live() {
			write(it.Value)
		}
	}
	items := 0
	for _, t := range x.topics {
		items += len(t.seqs)
	}
	put(uint64(items))
	var last item
	for it := range x.order.After(0) {
		if !it.Live() {
			continue
		}
		size := uint64(it.Value.size) + 1
		if it.Value.isEnd() {
			size = 0
		}
		put(it.Seq-last.Seq, zigzag(int64(it.Value.message-last.Value.message)), zigzag(it.Value.nanos-last.Value.nanos), ordinals[it.Value.topic], size)
		last = *it
	}
	put(uint64(len(x.types)))
	for seq, typ := range x.types {
		put(seq)
		dst = message.AppendText(dst, typ)
	}
	keys := 0
	for range x.keys.All() {
		keys++
	}
	put(uint64(keys))
	for k := range x.keys.All() {
		dst = message.AppendText(dst, k.Key.Topic)
		dst = message.AppendText(dst, k.Key.Value)
		put(k.First, k.Message, zigzag(k.Expires))
		dst = append(dst, k.Digest[:]...)
	}
	return sum(dst)
}

func zigzag(n int64) uint64   { return uint64(n<<1) ^ uint64(n>>63) }
func unzigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) }

// restore makes the index of a snapshot. If that is of other options, it
// returns nil.
func restore(b []byte, o *Options) (*index, error) {
	if len(b) < 4 || crc32.Checksum(b[:len(b)-4], castagnoli) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return nil, errSnapshot
	}
	m := message.Fields{Rest: b[:len(b)-4]}
	if string(m.Text()) != snapshotMagic || string(m.Text()) != o.fingerprint() {
		return nil, nil
	}
	x := newIndex(o)
	x.end, x.message, x.clock, x.newestLost = m.Number(), m.Number(), m.Number(), m.Number()
	for r := range o.Rules.All() {
		x.policies[r].Forgotten = keep.Loss{Seq: m.Number(), At: m.Number()}
	}
	for n := m.Number(); n > 0 && m.Err == nil; n-- {
		name := string(m.Text())
		t := x.newTopic(name, x.policies[x.rules.Of(name)])
		t.losses = nil
		lost := keep.Loss{Seq: m.Number(), At: m.Number()}
		switch {
		case lost.Seq == 0:
		case lost == t.policy.Forgotten:
			t.losses = &lastLoss{Loss: lost}
		default:
			clock := x.clock
			x.clock = lost.At
			x.lose(t, lost.Seq)
			x.clock = clock
		}
	}
	var seq uint64
	var it stored
	for n := m.Number(); n > 0 && m.Err == nil; n-- {
		seq += m.Number()
		it.message += uint64(unzigzag(m.Number()))
		it.nanos += unzigzag(m.Number())
		ordinal, size := m.Number(), m.Number()
		if ordinal >= uint64(len(x.numbered)) || size > math.MaxUint32 {
			return nil, errSnapshot
		}
		t := x.numbered[ordinal]
		it.topic, it.size = t.number, endSize
		if size > 0 {
			it.size = uint32(size - 1)
			t.bytes += int64(it.size)
			x.bytes += cost(int(it.size))
		} else {
			t.ended = true
		}
		t.push(seq)
		x.order.Push(seq, it)
		t.policy.Age.Expires = min(t.policy.Age.Expires, t.policy.Age.Expiry(it.nanos))
	}
	for n := m.Number(); n > 0 && m.Err == nil; n-- {
		seq := m.Number()
		x.types[seq] = string(m.Text())
	}
	for it := range x.order.After(0) {
		if typ, ok := x.types[it.Seq]; ok {
			x.newestOfType[typeOf{x.numbered[it.Value.topic-1], typ}] = it.Seq
		}
	}
	for n := m.Number(); n > 0 && m.Err == nil; n-- {
		r := &keep.Keyed{Key: keep.Key{Topic: string(m.Text()), Value: string(m.Text())}, First: m.Number(), Message: m.Number(), Expires: unzigzag(m.Number())}
		copy(r.Digest[:], m.Take(len(r.Digest)))
		x.keys.Add(r)
	}
	if m.Err != nil || len(m.Rest) > 0 {
		return nil, errSnapshot
	}
	return x, nil
}

// readSnapshot returns the index of the snapshot if there is one that the
// store still has everything of, else an empty index; and the end of the log
// when the snapshot was made.
func (d *directory) readSnapshot(o *Options, state, old storeState) (x *index, seen uint64) {
	b, err := os.ReadFile(d.file(snapshotFile))
	if err == nil {
		x, err = restore(b, o)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Logger.Warn("log reads everything", "error", err)
	}
	if x == nil {
		return newIndex(o), 0
	}
	seen = x.end
	oldest, oldestCarried := x.oldestMessages()
	if x.message > state.last || x.message+1 < state.first || oldest < state.first || oldestCarried < old.first {
		x = newIndex(o)
	}
	return x, seen
}

func (d *directory) writeSnapshot(l *Log) error {
	return d.write(snapshotFile, l.index.snapshot(nil, &l.opts))
}

// sum appends the checksum.
func sum(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)) }
