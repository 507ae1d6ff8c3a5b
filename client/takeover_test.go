package client

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/duplexhq/duplex/topic"
)

// A takeOver is one subscription, and a log that its feeds read, each from
// where it began, in any order that can happen.
type takeOver struct {
	*rand.Rand
	s       *subscription
	links   int64
	feeds   []*reader // the last is the newest
	stored  int       // of events: their ids are e-1, e-2, ...
	evicted int       // the oldest of them

	last int // event that was yielded, or told as gone
}

// A reader is what the server has of a feed.
type reader struct {
	*feed
	place     int
	conflates bool // leaves out what is not the newest
	promoted  bool // before that, nothing is read
}

func (m *takeOver) begin() {
	f, after := m.s.begin()
	r := &reader{feed: f, conflates: m.IntN(3) == 0}
	fmt.Sscanf(after, "e-%d", &r.place)
	m.feeds = append(m.feeds, r)
	m.links++
}

func (m *takeOver) promote() {
	r := m.feeds[len(m.feeds)-1]
	_ = r.promote(m.links, "") // or it is promoted already, or over
	r.promoted = true
}

// bring has a feed bring what comes next.
func (m *takeOver) bring(r *reader) {
	var err error
	switch {
	case !r.promoted:
	case r.place < m.evicted:
		gap := fmt.Sprintf(`{"after":"e-%d"}`, r.place)
		err = r.take(topic.Envelope{ID: fmt.Sprint("e-", m.evicted), Type: topic.TypeGap, Data: []byte(gap)}, false)
		r.place = m.evicted
	case m.IntN(4) == 0:
		err = r.take(topic.Envelope{ID: fmt.Sprint("e-", r.place), Type: topic.TypePing}, false)
	case r.place == m.stored:
	case r.conflates:
		r.place = m.stored
		err = r.take(eventOf(fmt.Sprint("e-", r.place), 1), false)
	default:
		r.place++
		err = r.take(eventOf(fmt.Sprint("e-", r.place), 1), false)
	}
	switch err {
	case errFull:
		r.end()
	case errAgain:
		r.end()
		m.begin()
		m.promote()
	}
}

// yield judges what the consumer is given.
func (m *takeOver) yield(conflates bool) error {
	q, ready, err := m.s.pop()
	if err != nil || ready != nil || q.opened {
		return err
	}
	var seq int
	fmt.Sscanf(q.event.ID, "e-%d", &seq)
	if gone := q.event.Type == topic.TypeGap; seq <= m.last || seq > m.last+1 && !conflates && !gone {
		return fmt.Errorf("after e-%d: %+v", m.last, q.event)
	}
	m.last = seq
	return nil
}

// Whatever feeds bring, and whenever one takes over, events are yielded once, in
// order, and gaps are those of the subscription.
func TestTakeOversInAnyOrder(t *testing.T) {
	for seed := range uint64(1000) {
		conflates, evicts := seed%3 == 1, seed%3 == 2
		s, err := newSubscription([]string{"a"}, &SubscribeOptions{After: "e-0"})
		if err != nil {
			t.Fatal(err)
		}
		m := &takeOver{Rand: rand.New(rand.NewPCG(seed, 0)), s: s}
		step := func(n int) {
			switch {
			case n < 4:
				m.stored++
			case n < 5 && evicts:
				m.evicted = min(m.stored, m.evicted+m.IntN(3))
			case n < 6 || len(m.feeds) == 0:
				m.begin()
			case n < 8:
				m.promote()
			case n < 9:
				m.feeds[m.IntN(len(m.feeds))].end()
			default:
				r := m.feeds[max(0, len(m.feeds)-1-m.IntN(3))]
				r.conflates = r.conflates && conflates
				m.bring(r)
			}
			if err := m.yield(conflates); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		for range 300 {
			step(m.IntN(20))
		}
		m.begin()
		m.promote()
		for range 1000 {
			step(10)
		}
		if m.last != m.stored {
			t.Fatalf("seed %d: yielded up to e-%d of %d", seed, m.last, m.stored)
		}
	}
}
