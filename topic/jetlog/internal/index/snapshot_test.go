package index

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// What is restored has what the index had, and loses the same next.
func TestSnapshot(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	rules, err := topic.NewRules(topic.Rule{Pattern: pattern(t, "1/*"), Slow: topic.SlowConflateTypes})
	if err != nil {
		t.Fatal(err)
	}
	bounds := keep.Default(topic.Bounds{RetainEvents: 3, RetainBytes: 50 * (EntryOverhead + 8), Rules: rules})
	x := New(&bounds)
	add := func(x *Index, seq, choice uint64) {
		name := fmt.Sprint(choice%3, "/", choice/3%10)
		t := x.Topic(name)
		if t != nil && t.Ended {
			return
		}
		d := topic.Draft{Type: fmt.Sprint(choice % 2), Data: make([]byte, choice%16)}
		if choice%50 == 0 {
			d = topic.EndDraft()
		}
		x.Append(t, name, &d, seq, seq/2+1, int64(seq))
		x.Bound()
		x.Remember(name, topic.Key{Value: fmt.Sprint(seq)}, seq, seq/2+1, int64(seq))
	}
	for seq := range uint64(300) {
		add(x, seq+1, r.Uint64N(1000))
	}
	same := func(y *Index) {
		t.Helper()
		if y.End != x.End || y.Message != x.Message || y.Clock != x.Clock || y.Bytes != x.Bytes || y.Known() != x.Known() {
			t.Fatalf("end %d, message %d, clock %d, %d bytes, %d topics; want %d, %d, %d, %d, %d",
				y.End, y.Message, y.Clock, y.Bytes, y.Known(), x.End, x.Message, x.Clock, x.Bytes, x.Known())
		}
		for one := range x.Names.After("") {
			other := y.Topic(one.Name())
			if other == nil || fmt.Sprint(other.seqs, other.Bytes, other.Ended, other.lost()) != fmt.Sprint(one.seqs, one.Bytes, one.Ended, one.lost()) {
				t.Fatalf("topic %s: %+v, want %+v", one.Name(), other, one)
			}
		}
		if k := y.Keys.Find(keep.Key{Topic: "0/0", Value: "1"}, 0); (k == nil) != (x.Keys.Find(keep.Key{Topic: "0/0", Value: "1"}, 0) == nil) || y.Keys.Len() != x.Keys.Len() {
			t.Fatalf("%d keys, want %d", y.Keys.Len(), x.Keys.Len())
		}
	}
	b := x.Snapshot(&bounds)
	y, err := Restore(b, &bounds)
	if err != nil {
		t.Fatal(err)
	}
	same(y)
	for seq := x.End; seq < 600; seq++ {
		choice := r.Uint64N(1000)
		add(x, seq+1, choice)
		add(y, seq+1, choice)
	}
	same(y)

	other := bounds
	other.RetainEvents++
	if z, err := Restore(b, &other); z != nil || err != nil {
		t.Errorf("of other bounds: %v, %v", z, err)
	}
	for i := range b {
		damaged := bytes.Clone(b)
		damaged[i] ^= 1
		if z, err := Restore(damaged, &bounds); z != nil || err == nil {
			t.Fatalf("byte %d is damaged: %v, %v", i, z, err)
		}
	}
}
