package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
	"github.com/duplexhq/duplex/topic/jetlog/internal/message"
)

// A snapshot is the index as it was when the log was closed. It saves reading
// the log from its beginning, and knows of losses what the log does not say.
//
//	magic, bounds       texts: a snapshot is good for the same bounds only
//	end, message, clock, newest lost
//	forgotten           seq and at, of each policy
//	topics              count, then name, lost seq and at
//	items               count, then seq, message, nanos: as differences; topic, size+1 or 0 for an end
//	types               count, then seq, type
//	keys                count, then topic, value, first, message, expires, digest
//	checksum            4 bytes, little endian: CRC-32C of all before
const snapshotMagic = "duplex index 1"

var (
	polynomial  = crc32.MakeTable(crc32.Castagnoli)
	errSnapshot = errors.New("jetlog: the snapshot of the index is damaged")
)

// fingerprint says what of the bounds the index depends on.
func fingerprint(bounds *topic.Bounds) string {
	var s strings.Builder
	fmt.Fprint(&s, bounds.RetainEvents, int64(bounds.RetainAge), bounds.RetainBytes)
	for r := range bounds.Rules.All() {
		events := -1
		if r.RetainEvents != nil {
			events = *r.RetainEvents
		}
		fmt.Fprintf(&s, " %q %d %d %d", r.Pattern.String(), events, int64(r.RetainAge), r.Slow)
	}
	return s.String()
}

// Snapshot makes the snapshot of the index.
func (x *Index) Snapshot(bounds *topic.Bounds) []byte {
	var w writer
	w.text(snapshotMagic)
	w.text(fingerprint(bounds))
	w.put(x.End, x.Message, x.Clock, x.newestLost)
	for r := range bounds.Rules.All() {
		f := x.policies[r].Forgotten
		w.put(f.Seq, f.At)
	}
	x.writeItems(&w, x.writeTopics(&w))
	w.put(uint64(len(x.types)))
	for seq, typ := range x.types {
		w.put(seq)
		w.text(typ)
	}
	keys := 0
	for range x.Keys.All() {
		keys++
	}
	w.put(uint64(keys))
	for k := range x.Keys.All() {
		w.text(k.Key.Topic)
		w.text(k.Key.Value)
		w.put(k.First, k.Message, zigzag(k.Expires))
		w.b = append(w.b, k.Digest[:]...)
	}
	return sum(w.b)
}

// writer appends numbers and texts as [message.Fields] reads them.
type writer struct{ b []byte }

func (w *writer) put(numbers ...uint64) {
	for _, n := range numbers {
		w.b = binary.AppendUvarint(w.b, n)
	}
}

func (w *writer) text(s string) { w.b = message.AppendText(w.b, s) }

// writeTopics writes the known topics: those that have lost something from the oldest
// loss to the newest, so that they are listed so again. It returns which is the how
// many-th, by number.
func (x *Index) writeTopics(w *writer) (ordinals []uint64) {
	w.put(uint64(len(x.topics)))
	ordinals = make([]uint64, len(x.numbered)+1)
	n := uint64(0)
	write := func(t *Topic) {
		ordinals[t.number] = n
		n++
		w.text(t.name)
		w.put(t.lost().Seq, t.lost().At)
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
	return ordinals
}

func (x *Index) writeItems(w *writer, ordinals []uint64) {
	items := 0
	for _, t := range x.topics {
		items += len(t.seqs)
	}
	w.put(uint64(items))
	var last Item
	for it := range x.Order.After(0) {
		if !it.Live() {
			continue
		}
		size := uint64(it.Value.size) + 1
		if it.Value.IsEnd() {
			size = 0
		}
		w.put(it.Seq-last.Seq, zigzag(int64(it.Value.Message-last.Value.Message)), zigzag(it.Value.Nanos-last.Value.Nanos), ordinals[it.Value.topic], size)
		last = *it
	}
}

// Restore makes the index of a snapshot. If that is of other bounds, it
// returns nil.
func Restore(b []byte, bounds *topic.Bounds) (*Index, error) {
	if len(b) < 4 || crc32.Checksum(b[:len(b)-4], polynomial) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return nil, errSnapshot
	}
	f := message.Fields{Rest: b[:len(b)-4]}
	if string(f.Text()) != snapshotMagic || string(f.Text()) != fingerprint(bounds) {
		return nil, nil
	}
	x := New(bounds)
	x.End, x.Message, x.Clock, x.newestLost = f.Number(), f.Number(), f.Number(), f.Number()
	for r := range bounds.Rules.All() {
		x.policies[r].Forgotten = keep.Loss{Seq: f.Number(), At: f.Number()}
	}
	x.readTopics(&f)
	x.readItems(&f)
	x.readTypes(&f)
	for n := f.Number(); n > 0 && f.Err == nil; n-- {
		r := &keep.Keyed{Key: keep.Key{Topic: string(f.Text()), Value: string(f.Text())}, First: f.Number(), Message: f.Number(), Expires: unzigzag(f.Number())}
		copy(r.Digest[:], f.Take(len(r.Digest)))
		x.Keys.Add(r)
	}
	if f.Err != nil || len(f.Rest) > 0 {
		return nil, errSnapshot
	}
	return x, nil
}

func (x *Index) readTopics(f *message.Fields) {
	clock := x.Clock
	for n := f.Number(); n > 0 && f.Err == nil; n-- {
		name := string(f.Text())
		t := x.newTopic(name, x.policies[x.rules.Of(name)])
		t.losses = nil
		lost := keep.Loss{Seq: f.Number(), At: f.Number()}
		switch {
		case lost.Seq == 0:
		case lost == t.policy.Forgotten:
			t.losses = &lastLoss{Loss: lost}
		default:
			x.Clock = lost.At
			x.lose(t, lost.Seq)
		}
	}
	x.Clock = clock
}

func (x *Index) readItems(f *message.Fields) {
	var seq uint64
	var it Stored
	for n := f.Number(); n > 0 && f.Err == nil; n-- {
		seq += f.Number()
		it.Message += uint64(unzigzag(f.Number()))
		it.Nanos += unzigzag(f.Number())
		ordinal, size := f.Number(), f.Number()
		if ordinal >= uint64(len(x.numbered)) || size > math.MaxUint32 {
			f.Err = errSnapshot
			return
		}
		t := x.numbered[ordinal]
		it.topic, it.size = t.number, endSize
		if size > 0 {
			it.size = uint32(size - 1)
			t.Bytes += int64(it.size)
			x.Bytes += Cost(int(it.size))
		} else {
			t.Ended = true
		}
		t.push(seq)
		x.Order.Push(seq, it)
		t.policy.Age.Expires = min(t.policy.Age.Expires, t.policy.Age.Expiry(it.Nanos))
	}
}

func (x *Index) readTypes(f *message.Fields) {
	for n := f.Number(); n > 0 && f.Err == nil; n-- {
		seq := f.Number()
		x.types[seq] = string(f.Text())
	}
	for it := range x.Order.After(0) {
		if typ, ok := x.types[it.Seq]; ok {
			x.newestOfType[typeOf{x.TopicOf(it), typ}] = it.Seq
		}
	}
}

func zigzag(n int64) uint64   { return uint64(n<<1) ^ uint64(n>>63) }
func unzigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) }

// sum appends the checksum.
func sum(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, polynomial)) }
