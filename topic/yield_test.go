package topic_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// A slow sink takes its time for each batch, and writes down what was in it.
type slow struct {
	took    time.Duration
	batches []string
}

func (s *slow) Send(b topic.Batch) bool {
	time.Sleep(s.took)
	var events []string
	for _, c := range b.Chunks {
		events = append(events, strings.TrimPrefix(string(c), "a="))
	}
	s.batches = append(s.batches, strings.Join(events, " "))
	return true
}

// openSlowly makes a hub of one shard with so many slow subscribers to "a".
func openSlowly(t *testing.T, yield func(*topic.Hub), n int, took time.Duration) (*topic.Hub, []*slow) {
	t.Helper()
	var hub *topic.Hub
	hub = openHub(t, nil, &topic.HubOptions{Shards: 1, Yield: func() { yield(hub) }})
	sinks := make([]*slow, n)
	for i := range sinks {
		sinks[i] = &slow{took: took}
		sub := hub.Subscribe(sinks[i], topic.SubscribeOptions{Form: script{}}, selection(t, hub.Now(), "a"))
		t.Cleanup(sub.Close)
	}
	synctest.Wait()
	return hub, sinks
}

// What is published while a long turn goes on is given to those who still wait
// for their part of it at once, and to the others before the next turn.
func TestWhatComesJoinsTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := 2
		hub, sinks := openSlowly(t, func(hub *topic.Hub) {
			if next <= 5 {
				publish(t, hub, "a", fmt.Sprint(next))
				next++
			}
		}, 40, 100*time.Microsecond)
		publish(t, hub, "a", "1")
		time.Sleep(time.Second)
		synctest.Wait()
		// The shard looks at the time before it serves the 16th, the 32nd, ...
		for i, s := range sinks {
			want := []string{"1 2 3", "4 5"}
			switch {
			case i < 15:
				want = []string{"1", "2 3", "4 5"} // 4 and 5 come in the second round
			case i < 31:
				want = []string{"1 2", "3", "4 5"}
			}
			if !slices.Equal(s.batches, want) {
				t.Errorf("subscriber %d got %q instead of %q", i, s.batches, want)
			}
		}
	})
}

// What joins a turn has to have room in it. While another turn waits, publishers
// wait, too.
func TestTurnThatIsJoinedIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const more = 200
		yields := 0
		hub, sinks := openSlowly(t, func(hub *topic.Hub) {
			if yields++; yields == 1 {
				publish(t, hub, "a", slices.Repeat([]string{"x"}, more)...)
			}
		}, 40, 100*time.Microsecond)
		publish(t, hub, "a", "x")
		time.Sleep(time.Second)
		synctest.Wait()
		for i, s := range sinks {
			sum := 0
			for _, b := range s.batches {
				n := len(strings.Fields(b))
				if sum += n; n > 64 {
					t.Errorf("subscriber %d got a batch of %d", i, n)
				}
			}
			if sum != 1+more {
				t.Errorf("subscriber %d got %d events", i, sum)
			}
		}
		if yields != 5 { // one in the first turn, none in the second, then two in each
			t.Errorf("it has yielded %d times", yields)
		}
	})
}

// A shard lets others run after half a millisecond of work, but works itself for
// half of the time.
func TestYields(t *testing.T) {
	const took = 10 * time.Millisecond
	for _, c := range []struct {
		each  time.Duration // that a sink takes
		waits []time.Duration
	}{
		{each: 0},
		{each: 30 * time.Microsecond, waits: []time.Duration{930 * time.Microsecond, 10_080 * time.Microsecond}}, // (31, 336) × 30 µs
		{each: time.Millisecond, waits: slices.Concat([]time.Duration{15 * time.Millisecond}, slices.Repeat([]time.Duration{16 * time.Millisecond}, 24))},
	} {
		synctest.Test(t, func(t *testing.T) {
			var began time.Time
			var waits []time.Duration
			hub, _ := openSlowly(t, func(*topic.Hub) {
				waits = append(waits, time.Since(began))
				time.Sleep(took)
				began = time.Now()
			}, 400, c.each)
			began = time.Now()
			publish(t, hub, "a", "1")
			time.Sleep(time.Minute)
			synctest.Wait()
			if !slices.Equal(waits, c.waits) {
				t.Errorf("%v each: it has yielded after %v", c.each, waits)
			}
		})
	}
}
