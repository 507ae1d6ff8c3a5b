package memlog

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// A burst that comes of age is let go of in steps, and never returned.
func TestAgeSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, &Options{RetainAge: time.Hour, RetainEvents: -1, MaxKeys: 2 * keep.ExpireItems})
		appendN(t, l, "a", 5*keep.ExpireItems)
		for i := range 2 * keep.ExpireItems {
			if _, err := l.Append(t.Context(), "b", draft128, topic.Key{Value: strconv.Itoa(i)}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := l.Append(t.Context(), "b", draft128, topic.Key{Value: "one more"})
		if !errors.Is(err, topic.ErrTooManyKeys) {
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Hour + 30*time.Second) // sweeps are on the minute
		if page := read(t, l, 0, "*"); len(page.Entries) > 0 || len(page.Gaps) != 1 {
			t.Errorf("%d entries over age, gaps %v", len(page.Entries), page.Gaps)
		}
		if topics, keys, bytes := held(l); topics != 0 || keys != 0 || bytes != 0 {
			t.Errorf("left: %d topics, %d keys, %d bytes", topics, keys, bytes)
		}
		check(t, l)
	})
}

// A log that nobody calls frees what is over age.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, &Options{RetainAge: time.Hour, IdempotencyWindow: 10 * time.Minute})
		if _, err := l.Append(t.Context(), "a", draft128, topic.Key{Value: "k"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10*time.Minute + sweepEvery)
		synctest.Wait()
		if topics, keys, _ := held(l); topics != 1 || keys != 0 {
			t.Errorf("after the window: %d topics, %d keys", topics, keys)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if topics, _, bytes := held(l); topics != 0 || bytes != 0 {
			t.Errorf("after the age: %d topics, %d bytes", topics, bytes)
		}
	})
}

// Whatever retention does, in whatever order, the parts of the log agree.
func TestRandomRetention(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	synctest.Test(t, func(t *testing.T) {
		l := open(t, &Options{RetainEvents: 500, RetainAge: time.Hour, RetainBytes: 10_000 * (128 + EntryOverhead)})
		for range 300 {
			switch r.IntN(10) {
			case 0:
				time.Sleep(time.Duration(r.Int64N(int64(20 * time.Minute))))
			case 1: // quiet topics leave blocks sparse
				for range 20 {
					appendN(t, l, "quiet/"+strconv.Itoa(r.Int()), 1)
				}
			case 2:
				name := "ended/" + strconv.Itoa(r.Int())
				appendN(t, l, name, 3)
				if _, err := l.Append(t.Context(), name, []topic.Draft{topic.EndDraft()}, topic.Key{}); err != nil {
					t.Fatal(err)
				}
			default:
				appendN(t, l, "busy/"+strconv.Itoa(r.IntN(3)), r.IntN(1500))
			}
			check(t, l)
		}
	})
}

// Stale items must not make the order grow, whether the topics beside them are
// quiet from the start or become so.
func TestOrderStaysSmall(t *testing.T) {
	const many = 1024
	l := open(t, &Options{RetainEvents: 1})
	for i := range 100 {
		appendN(t, l, "quiet/"+strconv.Itoa(i), 1)
		appendN(t, l, "busy", many)
	}
	for i := range 100 {
		appendN(t, l, "once busy/"+strconv.Itoa(i), many)
	}
	check(t, l)
	if n := items(&l.order); n > 3*many {
		t.Errorf("%d items for 201 events", n)
	}
}

// What was removed is let go at once, also when what is around it stays.
func TestEvictedIsFreed(t *testing.T) {
	l := open(t, &Options{RetainEvents: 1})
	var watched []weak.Pointer[topic.Entry]
	l.Watch(func(entries []*topic.Entry) {
		for _, e := range entries {
			watched = append(watched, weak.Make(e))
		}
	})
	appendN(t, l, "quiet", 1)
	if _, err := l.Append(t.Context(), "busy", slices.Concat(draft128, draft128), topic.Key{}); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	if watched[0].Value() == nil || watched[1].Value() != nil || watched[2].Value() == nil {
		t.Error("of two events in a batch, the first must be freed and the second kept")
	}
	appendN(t, l, "busy", 1)
	if runtime.GC(); watched[2].Value() != nil {
		t.Error("an evicted entry is still reachable")
	}
	l.Close()
	if runtime.GC(); watched[0].Value() != nil || watched[3].Value() != nil {
		t.Error("a closed log keeps entries")
	}
}

// Many keys may be over age before they are let go of. None of them counts, and
// one that is used again is remembered anew.
func TestKeysOverAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, &Options{IdempotencyWindow: sweepEvery + time.Second})
		use := func(i int, content byte, want error) {
			t.Helper()
			key := topic.Key{Value: strconv.Itoa(i), Digest: [32]byte{content}}
			if _, err := l.Append(t.Context(), "a", draft128, key); !errors.Is(err, want) {
				t.Errorf("key %d: error %v, want %v", i, err, want)
			}
		}
		time.Sleep(time.Second)
		for i := range 3 * keep.ExpireItems {
			use(i, 1, nil)
		}
		last := 3*keep.ExpireItems - 1
		time.Sleep(sweepEvery) // one sweep
		use(last, 2, topic.ErrKeyReused)
		time.Sleep(time.Second + 1)
		use(last, 2, nil)
		for range 3 { // lets go of the rest
			use(last, 3, topic.ErrKeyReused)
		}
		if _, keys, _ := held(l); keys != 1 {
			t.Errorf("%d keys are left", keys)
		}
		for i := range 2 {
			time.Sleep(2*sweepEvery + time.Second)
			use(i, 4, nil)
			if _, keys, _ := held(l); keys != 1 {
				t.Errorf("%d keys are left after a pause", keys)
			}
		}
	})
}

// A ring shrinks with its topic.
func TestRingShrinks(t *testing.T) {
	x := new(topicLog)
	for range 1000 {
		x.push(new(topic.Entry))
	}
	for x.count > 100 {
		x.pop()
		if len(x.ring) > 4*x.Len() {
			t.Fatalf("%d entries in a ring of %d", x.count, len(x.ring))
		}
	}
}

// An append allocates the entry and nothing else (but for growth, which is
// rare and averages out).
func TestAppendAllocs(t *testing.T) {
	l := open(t, &Options{RetainEvents: 1000})
	l.Watch(func([]*topic.Entry) {})
	appendN(t, l, "a", 2000)
	if n := testing.AllocsPerRun(2000, func() { appendN(t, l, "a", 1) }); n > 1 {
		t.Errorf("%v allocations per append, want 1", n)
	}
}

// A topic with one small event takes at most 300 bytes beside its name and the
// data; the rest is slack.
func TestTopicAtRest(t *testing.T) {
	if n := bytesPerTopic(t, 50_000); n > 340 {
		t.Errorf("%.0f bytes per topic", n)
	}
}

// check compares the parts of the log with each other.
func check(t *testing.T, l *Log) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	entries, bytes := 0, int64(0)
	losses := make(map[*topicLog]bool)
	for it := range l.losses.After(0) {
		if !it.Live() {
			continue
		}
		if lost := l.lossOf(it.Value); losses[it.Value] || lost.At != it.Seq || lost.At > l.clock || lost.Seq > l.newestLost {
			t.Fatalf("list of losses: %+v at %d, clock %d", lost, it.Seq, l.clock)
		}
		losses[it.Value] = true
	}
	listed := 0
	for x := range l.names.After("") {
		if l.topics[x.name] != x {
			t.Fatalf("list of names: %q is not known", x.name)
		}
		listed++
	}
	if listed != len(l.topics) {
		t.Fatalf("list of names: %d, of %d topics", listed, len(l.topics))
	}
	for name, x := range l.topics {
		if x.name != name || x.count == 0 || x.events() > l.policies[x.policy].Events || len(x.ring) > max(1, 4*x.Len()) {
			t.Fatalf("topic %q: %d entries in a ring of %d", name, x.count, len(x.ring))
		}
		var topicBytes int64
		seq := x.gone.Seq
		for i := range x.Len() {
			e := x.at(i)
			if e.ID.Seq <= seq {
				t.Fatalf("topic %q: entry %d after %d", name, e.ID.Seq, seq)
			}
			seq = e.ID.Seq
			if !e.IsEnd() {
				topicBytes += int64(len(e.Data))
				bytes += cost(e)
			}
		}
		if topicBytes != x.bytes {
			t.Fatalf("topic %q: %d bytes, counted %d", name, topicBytes, x.bytes)
		}
		if x.listed != losses[x] {
			t.Fatalf("topic %q: listed as lossy: %v", name, x.listed)
		}
		entries += x.Len()
	}
	if bytes != l.bytes || bytes > l.opts.RetainBytes {
		t.Fatalf("%d bytes, counted %d, limit %d", bytes, l.bytes, l.opts.RetainBytes)
	}
	ordered := 0
	for it := range l.order.After(0) {
		if !it.Live() {
			continue
		}
		ordered++
		if e := it.Value.entry(it.Seq); l.topics[it.Value.name] != it.Value || e.ID.Seq != it.Seq {
			t.Fatalf("order: %d of %q is %d", it.Seq, it.Value.name, e.ID.Seq)
		}
	}
	if ordered != entries {
		t.Fatalf("order: %d entries, of %d", ordered, entries)
	}
}

// items counts all that an order has, also what is stale.
func items(o *keep.Order[*topicLog]) (n int) {
	for range o.After(0) {
		n++
	}
	return n
}
