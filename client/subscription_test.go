package client

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/duplexhq/duplex/topic"
)

// promoted is a subscription with a feed that counts.
func promoted(t *testing.T, after string) (*subscription, *feed) {
	t.Helper()
	s, err := newSubscription([]string{"a"}, &SubscribeOptions{After: after})
	if err != nil {
		t.Fatal(err)
	}
	f, _ := s.begin()
	if err := f.promote(1, ""); err != nil {
		t.Fatal(err)
	}
	return s, f
}

func eventOf(id string, bytes int) topic.Envelope {
	return topic.Envelope{ID: id, Topic: "a", Data: make([]byte, bytes)}
}

// The queue is bounded by events and by bytes, but takes a single larger event;
// who waits for room waits for the loop, and no longer.
func TestQueueIsBounded(t *testing.T) {
	for name, test := range map[string]struct{ fill, bytes, more, pops int }{
		"events":             {queueEvents, 1, 1, queueEvents / 2},
		"bytes":              {2, queueBytes / 2, 1, 1},
		"a large one behind": {1, queueBytes / 3, queueBytes, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, f := promoted(t, "e-0")
				if q, _, err := s.pop(); err != nil || !q.opened {
					t.Fatalf("got %+v, %v", q, err)
				}
				last := fmt.Sprint("e-", test.fill)
				for i := range test.fill {
					if err := f.take(eventOf(fmt.Sprint("e-", i+1), test.bytes), false); err != nil {
						t.Fatal(err)
					}
				}
				if err := f.take(eventOf("e-1000", test.more), false); err != errFull || s.cursor != last {
					t.Fatalf("got %v at %s, want it full at %s", err, s.cursor, last)
				}
				waited := make(chan error)
				go func() { waited <- f.waitRoom(t.Context(), test.more) }()
				for pops := 0; ; pops++ {
					synctest.Wait()
					select {
					case err := <-waited:
						if err != nil || pops != test.pops {
							t.Errorf("there was room after %d steps of the loop (%v), want %d", pops, err, test.pops)
						}
						return
					default:
					}
					if _, _, err := s.pop(); err != nil {
						t.Fatal(err)
					}
				}
			})
		})
	}
}

// PROTOCOL.md §15.5: what the old feed has delivered is discarded, and nothing
// else.
func TestTakeOver(t *testing.T) {
	s, old := promoted(t, "e-0")
	take := func(f *feed, id string, want error) {
		t.Helper()
		if err := f.take(eventOf(id, 1), false); err != want {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
	take(old, "e-1", nil)
	next, after := s.begin()
	if after != "e-1" {
		t.Errorf("begins after %s", after)
	}
	take(old, "e-2", nil)
	take(old, "e-3", nil)
	take(next, "e-2", errStale) // it has not been promoted
	if err := next.promote(2, "e-1"); err != nil {
		t.Fatal(err)
	}
	take(old, "e-4", errStale)
	late, _ := s.begin()
	if err := late.promote(1, ""); err != errStale {
		t.Errorf("a feed of the old link took over from the new one: %v", err)
	}
	take(next, "e-2", nil) // discarded
	if err := next.take(topic.Envelope{ID: "e-2", Type: topic.TypePing}, false); err != nil || s.cursor != "e-3" {
		t.Errorf("a signal from before moved the cursor to %s (%v)", s.cursor, err)
	}
	take(next, "e-3", nil) // discarded
	take(next, "e-4", nil)
	take(next, "e-2", nil) // discarded
	var got []string
	for {
		q, ready, err := s.pop()
		if err != nil || ready != nil {
			break
		}
		if !q.opened {
			got = append(got, q.event.ID)
		}
	}
	wantList(t, "queued", got, "e-1", "e-2", "e-3", "e-4")
}
