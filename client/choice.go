package client

import (
	"slices"
	"time"
)

// The times of PROTOCOL.md §15.3.
const (
	stagger           = 400 * time.Millisecond
	rememberedStagger = time.Second
	grace             = 250 * time.Millisecond
	choiceLimit       = 30 * time.Second
)

// A choice is one attempt to find a transport that works (PROTOCOL.md §15.3).
// It is a value: it is told what happens and when, and says what to do.
type choice struct {
	allowed []Transport // in order of preference
	order   []Transport // in which they are begun
	patient bool        // with the first, because it worked before
	until   time.Time   // when it is given up

	tries  []try     // a beginning of order
	worked time.Time // when the first worked; zero if none has
}

// A try is a transport that was begun.
type try struct {
	transport Transport
	begun     time.Time
	works     bool
	err       error // why it failed
}

// newChoice begins with first, if it is among those allowed.
func newChoice(allowed []Transport, first Transport, remembered bool, now time.Time, limit time.Duration) *choice {
	c := &choice{allowed: allowed, order: slices.Clone(allowed), until: now.Add(limit)}
	if i := slices.Index(c.order, first); i >= 0 {
		c.order = slices.Insert(slices.Delete(c.order, i, i+1), 0, first)
		c.patient = remembered
	}
	return c
}

// A move is what a choice wants done next.
type move struct {
	begin Transport // if not empty, and ask again
	adopt Transport // if not empty: the choice is made
	over  bool      // all have failed, or the time is over
	wake  time.Time // when to ask again, if nothing happens before
}

func (c *choice) next(now time.Time) move {
	if best, sure := c.best(); best != "" {
		if decide := c.worked.Add(grace); !sure && now.Before(decide) {
			return move{wake: decide}
		}
		return move{adopt: best}
	}
	if !now.Before(c.until) {
		return move{over: true}
	}
	if len(c.tries) == len(c.order) {
		if !slices.ContainsFunc(c.tries, func(t try) bool { return t.err == nil }) {
			return move{over: true}
		}
		return move{wake: c.until}
	}
	if n := len(c.tries); n > 0 && c.tries[n-1].err == nil {
		due := c.tries[n-1].begun.Add(stagger)
		if n == 1 && c.patient {
			due = c.tries[0].begun.Add(rememberedStagger)
		}
		if now.Before(due) {
			return move{wake: due}
		}
	}
	t := c.order[len(c.tries)]
	c.tries = append(c.tries, try{transport: t, begun: now})
	return move{begin: t}
}

// best is the most preferred of those that work; sure, that none before it is
// still under way.
func (c *choice) best() (best Transport, sure bool) {
	for _, t := range c.tries {
		if t.works && (best == "" || preferred(c.allowed, t.transport, best)) {
			best = t.transport
		}
	}
	return best, !slices.ContainsFunc(c.tries, func(t try) bool {
		return !t.works && t.err == nil && preferred(c.allowed, t.transport, best)
	})
}

func (c *choice) works(t Transport, now time.Time) {
	if c.worked.IsZero() {
		c.worked = now
	}
	c.try(t).works = true
}

func (c *choice) failed(t Transport, err error) {
	*c.try(t) = try{transport: t, begun: c.try(t).begun, err: err}
	if best, _ := c.best(); best == "" {
		c.worked = time.Time{}
	}
}

func (c *choice) try(t Transport) *try {
	return &c.tries[slices.IndexFunc(c.tries, func(other try) bool { return other.transport == t })]
}
