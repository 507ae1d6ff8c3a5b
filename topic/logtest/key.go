package logtest

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/duplexhq/duplex/topic"
)

var keyTests = []test{
	{name: "Repeated", f: testKeyRepeated},
	{name: "Ended", f: testKeyEnded},
	{name: "Concurrent", f: testKeyConcurrent},
	{name: "TooMany", bounds: topic.Bounds{MaxKeys: 2}, f: testKeyTooMany},
	{name: "Window", bounds: topic.Bounds{IdempotencyWindow: time.Minute}, bubble: true, f: testKeyWindow},
	{name: "Age", bounds: topic.Bounds{IdempotencyWindow: time.Hour, RetainAge: time.Minute}, bubble: true, f: testKeyWindow},
	{name: "Lost", bounds: topic.Bounds{RetainEvents: 1}, f: testKeyLost},
	{name: "Seen", f: testKeySeen},
	{name: "SeenConcurrent", f: testKeySeenConcurrent},
}

// key is a key of a content.
func key(value string, content byte) topic.Key {
	return topic.Key{Value: value, Digest: [32]byte{content}}
}

// appendKey appends one event, and wants the id; a new one if that is zero.
func (l *subject) appendKey(name, data string, k topic.Key, want topic.ID) topic.ID {
	l.t.Helper()
	end := l.End()
	id, err := l.Append(l.t.Context(), name, text(data), k)
	switch {
	case err != nil:
		l.t.Fatalf("Append with key %q: %v", k.Value, err)
	case want == topic.ID{} && (id.Seq <= end.Seq || l.End() != id):
		l.t.Fatalf("Append with key %q: id %v, want a new one after %v", k.Value, id, end)
	case want != topic.ID{} && (id != want || l.End() != end):
		l.t.Fatalf("Append with key %q: id %v, want %v and nothing stored", k.Value, id, want)
	}
	return id
}

// "With a key, a repeated append of the same digest within the idempotency
// window returns the first id and stores nothing; of another digest it gives
// ErrKeyReused." Keys are of their topic.
func testKeyRepeated(l *subject) {
	id := l.appendKey("a", "1", key("k", 1), topic.ID{})
	l.append("a", "2")
	l.appendKey("a", "1", key("k", 1), id)
	l.wantError(topic.ErrKeyReused, "a", text("3"), key("k", 2))
	l.appendKey("a", "1", key("k", 1), id)
	l.appendKey("b", "4", key("k", 2), topic.ID{})
	l.appendKey("a", "5", key("k2", 1), topic.ID{})
	l.appendKey("a", "6", none, topic.ID{})
	l.appendKey("a", "7", none, topic.ID{})

	batch := key("batch", 3)
	first, err := l.Append(l.t.Context(), "a", text("8", "9"), batch)
	if err != nil {
		l.t.Fatal(err)
	}
	l.appendKey("a", "8", batch, first)
	l.read(l.start(), "*").want("1", "2", "4", "5", "6", "7", "8", "9")
}

// A retry is harmless also if the first append ended the topic.
func testKeyEnded(l *subject) {
	drafts := append(text("1"), topic.EndDraft())
	id, err := l.Append(l.t.Context(), "a", drafts, key("k", 1))
	if err != nil {
		l.t.Fatal(err)
	}
	again, err := l.Append(l.t.Context(), "a", drafts, key("k", 1))
	if err != nil || again != id {
		l.t.Errorf("retry: %v, %v, want %v", again, err, id)
	}
	l.wantError(topic.ErrEnded, "a", text("2"), key("k2", 1))
	l.wantError(topic.ErrKeyReused, "a", text("2"), key("k", 2))
}

// Of many appends with one key at the same time, one is stored.
func testKeyConcurrent(l *subject) {
	ids := make([]topic.ID, 16)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			id, err := l.Append(l.t.Context(), "a", text("1"), key("k", 1))
			if err != nil && !errors.Is(err, topic.ErrKeyInProgress) {
				l.t.Errorf("Append: %v", err)
			}
			ids[i] = id
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != (topic.ID{}) && id != l.End() {
			l.t.Errorf("an append returned %v, the end is %v", id, l.End())
		}
	}
	l.read(l.start(), "a").want("1")
}

// A key that is not remembered would not make a retry harmless: the append is
// refused.
func testKeyTooMany(l *subject) {
	id := l.appendKey("a", "1", key("k1", 1), topic.ID{})
	l.appendKey("b", "2", key("k2", 1), topic.ID{})
	l.wantError(topic.ErrTooManyKeys, "a", text("3"), key("k3", 1))
	l.appendKey("a", "1", key("k1", 1), id)
	l.append("a", "4")
}

// The window begins with the first append, not with its repetitions. It is
// "never longer than the age" of events.
func testKeyWindow(l *subject) {
	const window = time.Minute
	id := l.appendKey("a", "1", key("k", 1), topic.ID{})
	time.Sleep(window / 2)
	l.appendKey("a", "2", key("k2", 1), topic.ID{})
	time.Sleep(window/2 - 1)
	l.appendKey("a", "1", key("k", 1), id)
	time.Sleep(2 * time.Nanosecond)
	second := l.appendKey("a", "3", key("k", 2), topic.ID{})
	time.Sleep(window - 1)
	l.appendKey("a", "3", key("k", 2), second)
	l.appendKey("a", "2", key("k2", 2), topic.ID{})
}

// The window is one of time: a key outlives its event.
func testKeyLost(l *subject) {
	id := l.appendKey("a", "1", key("k", 1), topic.ID{})
	for i := range 10 {
		l.append("a", strconv.Itoa(i))
	}
	l.appendKey("a", "1", key("k", 1), id)
}

// "With Key.Seen, an entry of the topic that is kept and lies after it gives
// ErrUnseen": one of another topic does not, and nothing is stored.
func testKeySeen(l *subject) {
	seen := func() topic.Key { return topic.Key{Seen: l.End()} }
	begin := seen()
	first := l.appendKey("a", "1", begin, topic.ID{})
	l.wantError(topic.ErrUnseen, "a", text("2"), begin)
	l.appendKey("b", "3", begin, topic.ID{})
	l.appendKey("a", "4", topic.Key{Seen: first}, topic.ID{})
	l.wantError(topic.ErrUnseen, "a", text("5"), topic.Key{Seen: first})
	both := key("k", 1)
	both.Seen = l.End()
	id := l.appendKey("a", "6", both, topic.ID{})
	l.appendKey("a", "6", both, id) // it is the same append
	l.appendKey("a", "7", seen(), topic.ID{})
	l.read(l.start(), "*").want("1", "3", "4", "6", "7")
}

// Of those who have seen the same, one comes first.
func testKeySeenConcurrent(l *subject) {
	for range 20 {
		seen := topic.Key{Seen: l.End()}
		var stored, refused atomic.Int32
		var writers sync.WaitGroup
		for range 8 {
			writers.Go(func() {
				switch _, err := l.Append(l.t.Context(), "a", text("x"), seen); {
				case err == nil:
					stored.Add(1)
				case errors.Is(err, topic.ErrUnseen):
					refused.Add(1)
				default:
					l.t.Error(err)
				}
			})
		}
		writers.Wait()
		if stored.Load() != 1 || refused.Load() != 7 {
			l.t.Fatalf("%d stored, %d refused, want 1 and 7", stored.Load(), refused.Load())
		}
	}
}
