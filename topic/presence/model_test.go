package presence

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// A roll is a sorted list.
func TestRoll(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var r roll
	var model []string
	for step := range 20_000 {
		name := fmt.Sprint(random.IntN(2000))
		i, found := slices.BinarySearch(model, name)
		if m := r.get(name); (m != nil) != found || found && m.name != name {
			t.Fatalf("step %d: %q is %v", step, name, m)
		}
		growing := step/4000%2 == 0
		switch {
		case found && (!growing || random.IntN(4) == 0):
			r.remove(name)
			model = slices.Delete(model, i, i+1)
		case !found && (growing || random.IntN(4) == 0):
			r.add(&member{name: name})
			model = slices.Insert(model, i, name)
		}
		if step%500 == 0 {
			from := fmt.Sprint(random.IntN(2000))
			var after []string
			for m := range r.after(from) {
				after = append(after, m.name)
			}
			i, found := slices.BinarySearch(model, from)
			if found {
				i++
			}
			if !slices.Equal(after, model[i:]) {
				t.Fatalf("step %d: %d after %q, want %d", step, len(after), from, len(model)-i)
			}
			for _, c := range r.chunks {
				if len(c) == 0 || len(c) > chunkMembers {
					t.Fatalf("a chunk of %d", len(c))
				}
			}
		}
	}
	for _, name := range model {
		r.remove(name)
	}
	if !r.empty() || len(r.chunks) > 0 {
		t.Error("it is not empty")
	}
}

// fold applies an event to a set. An event tells only of what changes.
func fold(t *testing.T, set map[string]bool, e *topic.Entry) {
	t.Helper()
	var c change
	if err := json.Unmarshal(e.Data, &c); err != nil {
		t.Fatal(err)
	}
	for _, m := range c.Joins {
		if set[m.Member] {
			t.Errorf("%v: %s joins, and was there", e.ID, m.Member)
		}
		set[m.Member] = true
	}
	for _, m := range c.Leaves {
		if !set[m.Member] {
			t.Errorf("%v: %s leaves, and was not there", e.ID, m.Member)
		}
		delete(set, m.Member)
	}
}

// after reads the events of a topic after a cursor.
func after(t *testing.T, log topic.Log, name string, c topic.Cursor) []*topic.Entry {
	t.Helper()
	page, err := log.Read(t.Context(), []topic.Interest{{Patterns: []topic.Pattern{pattern(t, Prefix+name)}, After: c}}, topic.Limit{})
	if err != nil || len(page.Gaps) > 0 {
		t.Fatal(page.Gaps, err)
	}
	return page.Entries
}

// Whatever connections do, the events and the tables say who has one, and who
// had one within the grace.
func TestRandom(t *testing.T) {
	bubble(t, nil, nil, func(t *testing.T, h *house) {
		random := rand.New(rand.NewPCG(3, 4))
		names := []string{"room/1", "room/2", "room/3"}
		var visits []*Visit
		type place struct{ topic, member string }
		here := make(map[place]int)
		gone := make(map[place]time.Time)
		for range 3000 {
			time.Sleep(time.Duration(random.ExpFloat64() * float64(100*time.Millisecond)))
			switch i := random.IntN(len(visits) + 1); {
			case random.IntN(2) == 0 && len(visits) < 20:
				visits = append(visits, h.Visit(fmt.Sprint("m", random.IntN(8))))
			case i == len(visits):
			case random.IntN(3) == 0:
				v := visits[i]
				for _, m := range v.stays {
					p := place{m.topic.topic, v.member}
					here[p]--
					gone[p] = time.Now()
				}
				v.End()
				visits = slices.Delete(visits, i, i+1)
			default:
				v, name := visits[i], names[random.IntN(3)]
				p := place{name, v.member}
				if v.stay(name) >= 0 {
					v.Leave(name)
					here[p]--
					gone[p] = time.Now()
				} else if err := v.Join(name); err != nil {
					t.Fatal(err)
				} else {
					here[p]++
				}
			}
		}
		check := func() {
			for _, name := range names {
				set := make(map[string]bool)
				for _, e := range after(t, h.Log, name, topic.Cursor{ID: topic.ID{Epoch: h.End().Epoch}}) {
					fold(t, set, e)
				}
				h.wantMembers(name, slices.Sorted(maps.Keys(set))...)
				for i := range 8 {
					p := place{name, fmt.Sprint("m", i)}
					if want := here[p] > 0; want != set[p.member] && time.Since(gone[p]) > DefaultGrace+interval {
						t.Errorf("%v: %v", p, set[p.member])
					}
				}
			}
		}
		time.Sleep(interval)
		check()
		time.Sleep(DefaultGrace + interval)
		check()
		for _, v := range visits {
			v.End()
		}
		time.Sleep(DefaultGrace + interval)
		h.wantEmpty(t)
		for _, name := range names {
			h.wantMembers(name)
		}
	})
}

// PROTOCOL.md §14.2: a snapshot and the events after its cursor are everything,
// once.
func TestSnapshotsAreExact(t *testing.T) {
	log := memlog.Open(nil)
	defer log.Close()
	hub := topic.NewHub(log, nil)
	defer hub.Close()
	r, err := New(hub, &Options{Patterns: []topic.Pattern{pattern(t, "room/*")}, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var members sync.WaitGroup
	for i := range 8 {
		members.Go(func() {
			for range 2000 {
				v := r.Visit(fmt.Sprint("m", i))
				if err := v.Join("room/1"); err != nil {
					t.Error(err)
				}
				runtime.Gosched()
				v.End()
				r.skipInterval()
			}
		})
	}
	var snapshots []Snapshot
	for len(snapshots) < 500 {
		snapshots = append(snapshots, r.Snapshot("room/1", "", 100))
		runtime.Gosched()
	}
	members.Wait()
	last := r.Snapshot("room/1", "", 100)
	for _, s := range snapshots {
		set := make(map[string]bool)
		for _, m := range s.Members {
			set[m] = true
		}
		for _, e := range after(t, log, "room/1", s.Cursor) {
			if e.ID.Seq <= last.Cursor.Seq {
				fold(t, set, e)
			}
		}
		if got := slices.Sorted(maps.Keys(set)); !slices.Equal(got, last.Members) {
			t.Fatalf("from %+v: %v, want %+v", s, got, last)
		}
	}
}

// skipInterval has what has changed announced now.
func (r *Recorder) skipInterval() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.cooling {
		t.until = 1
	}
	r.rouse()
}

// What a member costs is multiplied by their number. The sizes are the
// allocator's classes.
func TestSizes(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the sizes are those of 64 bits")
	}
	if size := unsafe.Sizeof(member{}); size > 48 {
		t.Errorf("a member takes %d bytes", size)
	}
	if size := unsafe.Sizeof(Visit{}); size > 64 {
		t.Errorf("a visit takes %d bytes", size)
	}
	if size := unsafe.Sizeof(attendance{}); size > 80 {
		t.Errorf("a table takes %d bytes", size)
	}
}

// BenchmarkMembers tells the memory of a member with one connection, on a topic
// of many and on one of its own.
func BenchmarkMembers(b *testing.B) {
	for _, topics := range []int{1, 100_000} {
		b.Run(fmt.Sprint("topics=", topics), func(b *testing.B) {
			const members = 100_000
			for b.Loop() {
				log := memlog.Open(&memlog.Options{RetainEvents: 1})
				hub := topic.NewHub(log, nil)
				r, err := New(hub, &Options{Patterns: []topic.Pattern{pattern(b, "room/*")}})
				if err != nil {
					b.Fatal(err)
				}
				r.stop() // nobody is told: the log's memory is not measured
				visits := make([]*Visit, members)
				names := make([]string, members)
				for i := range names {
					names[i] = fmt.Sprintf("member %06d", i)
				}
				before := heap()
				for i := range visits {
					visits[i] = r.Visit(names[i])
					if err := visits[i].Join(fmt.Sprint("room/", i%topics)); err != nil {
						b.Fatal(err)
					}
				}
				r.mu.Lock()
				for _, t := range r.due { // as if they were told
					t.changed = nil
				}
				r.due = nil
				r.mu.Unlock()
				b.ReportMetric(float64(heap()-before)/members, "B/member")
				runtime.KeepAlive(visits)
				r.Close()
				hub.Close()
				log.Close()
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
