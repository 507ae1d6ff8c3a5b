package topic

import "testing"

func tailEntry(seq uint64, bytes int) *Entry {
	return &Entry{Event: Event{ID: ID{Epoch: 1, Seq: seq}, Data: make([]byte, bytes)}}
}

// copied is a form that copies the data.
type copied struct{}

func (copied) AppendEvent(dst []byte, e *Event) []byte  { return append(dst, e.Data...) }
func (copied) AppendSignal(dst []byte, s Signal) []byte { return append(dst, s.Data...) }

// keeps reports whether the entry keeps its encodings.
func keeps(e *Entry) bool {
	a, b := e.Encode(copied{}), e.Encode(copied{})
	return &a[0] == &b[0]
}

// The tail holds the newest 4,096 entries. One that leaves it keeps its
// encodings no longer, and a shard that needs it is told.
func TestTailIsBoundedByCount(t *testing.T) {
	var tail tail
	var entries []*Entry
	const more = 10
	for i := range uint64(tailEntries + more) {
		entries = append(entries, tailEntry(i+1, 1))
	}
	tail.push(entries[:tailEntries])
	if !keeps(entries[0]) {
		t.Error("an entry of the tail does not keep its encoding")
	}
	tail.push(entries[tailEntries:])
	if keeps(entries[0]) || keeps(entries[more-1]) || !keeps(entries[more]) {
		t.Error("it is not the oldest that were sealed")
	}
	if next, end := tail.position(); next != tailEntries+more || end != (ID{1, tailEntries + more}) {
		t.Errorf("position %d, end %v", next, end)
	}
	if _, ok := tail.take(more-1, nil); ok {
		t.Error("gives an entry that it does not hold")
	}
	seen := 0
	for next := uint64(more); ; {
		turn, ok := tail.take(next, nil)
		if !ok || len(turn) > turnEntries {
			t.Fatalf("a turn of %d, %v", len(turn), ok)
		}
		if len(turn) == 0 {
			break
		}
		for _, e := range turn {
			if e.Entry != entries[next] {
				t.Fatalf("position %d holds %v", next, e.ID)
			}
			next++
			seen++
		}
	}
	if seen != tailEntries {
		t.Errorf("holds %d entries", seen)
	}
}

// It holds at most 16 MiB, but at least one entry, and a turn at most 256 KiB,
// but at least one.
func TestTailIsBoundedByBytes(t *testing.T) {
	var tail tail
	const size = 1 << 20
	for i := range uint64(100) {
		tail.push([]*Entry{tailEntry(i+1, size)})
		if held := tail.next - tail.first; tail.bytes != int(held)*size || tail.bytes > tailBytes {
			t.Fatalf("%d bytes in %d entries", tail.bytes, held)
		}
	}
	if held := tail.next - tail.first; held != tailBytes/size {
		t.Errorf("%d entries are held", held)
	}
	if turn, ok := tail.take(tail.first, nil); !ok || len(turn) != 1 {
		t.Errorf("a turn of %d large entries", len(turn))
	}
	tail.push([]*Entry{tailEntry(101, tailBytes+1)})
	if tail.next-tail.first != 1 || tail.bytes != tailBytes+1 {
		t.Errorf("%d bytes in %d entries", tail.bytes, tail.next-tail.first)
	}
	const small = turnBytes / 4
	for i := range uint64(10) {
		tail.push([]*Entry{tailEntry(i+102, small)})
	}
	if held := tail.next - tail.first; held != 10 || tail.bytes != 10*small {
		t.Errorf("%d bytes in %d entries", tail.bytes, held)
	}
	if turn, ok := tail.take(tail.first, nil); !ok || len(turn) != 4 {
		t.Errorf("a turn of %d small entries", len(turn))
	}
	begun, _ := tail.take(tail.first, nil)
	if turn, ok := tail.take(tail.first+1, begun[:1]); !ok || len(turn) != 4 {
		t.Errorf("a turn of %d small entries, one of them taken before", len(turn))
	}
	if turn, ok := tail.take(tail.first+4, begun); !ok || len(turn) != 4 {
		t.Errorf("a full turn has grown to %d entries", len(turn))
	}
}

// A turn is full by count or by bytes, and what the tail no longer has is more
// than one.
func TestTailIsFull(t *testing.T) {
	var tail tail
	for i := range uint64(turnEntries + 3) {
		tail.push([]*Entry{tailEntry(i+1, 1)})
	}
	tail.push([]*Entry{tailEntry(100, turnBytes)})
	for next, want := range map[uint64]bool{
		0:                   true,
		4:                   true,
		5:                   true, // by bytes
		turnEntries + 2:     true, // by a byte
		turnEntries + 3:     false,
		turnEntries + 3 + 1: false, // nothing
	} {
		if tail.full(next) != want {
			t.Errorf("from %d on: full is %v", next, !want)
		}
	}
	tail.reset(ID{1, 100})
	if next, _ := tail.position(); !tail.full(next-1) || tail.full(next) {
		t.Error("after a reset")
	}
}
