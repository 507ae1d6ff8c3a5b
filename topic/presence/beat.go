package presence

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/duplexhq/duplex/topic"
)

const (
	// beatEvery is how often a node shows that it is there.
	beatEvery = 3 * time.Second
	// silentBeats is how many times this node may beat, each time without a word of
	// another one since the beat before, until that one is gone. Beats that the log
	// has taken are what counts, not the time: if nobody is heard, it is the log
	// that is silent. So it takes 6 to 9 s after the other's last word.
	silentBeats = 2
	// maxNodes bounds what is read of nodes that were there before this one.
	maxNodes = 1000
)

// attend does what is due because of other nodes.
func (r *Recorder) attend(now time.Time) {
	r.mu.Lock()
	if !r.nodes.self.gone.IsZero() { // others have missed this one
		r.nodes.begin()
		if !r.isReady() {
			r.askAnew()
		}
		r.rejoin()
	}
	beat, answer, anew := !now.Before(r.nodes.next), r.nodes.asked > 0 && r.leads(), r.nodes.alone && !r.isReady()
	if beat {
		r.nodes.next = now.Add(beatEvery)
	}
	var over []*node
	for _, n := range r.nodes.byName {
		switch end, ends := n.end(r.stay()); {
		case !ends || now.Before(end):
		case n.swept:
			delete(r.nodes.byName, n.name)
			r.nodes.slots[n.slot] = nil
		default:
			over = append(over, n)
		}
	}
	r.mu.Unlock()
	for _, n := range over {
		r.sweep(n)
	}
	if beat {
		r.beat()
	}
	if anew {
		ctx, cancel := context.WithTimeout(r.ctx, beatEvery)
		defer cancel()
		d := draft{note: note{Anew: true}}
		_ = r.send(ctx, &d) // with the next beat it is tried again
	}
	if answer {
		r.answer()
	}
}

// beat shows that this node is there, first by a hello, and looks for those that
// are not.
func (r *Recorder) beat() {
	ctx, cancel := context.WithTimeout(r.ctx, beatEvery)
	defer cancel()
	r.mu.Lock()
	self := r.nodes.self
	n := note{Since: self.since, Hello: self.since == 0, Asks: !r.isReady()}
	known := r.nodes.known || r.isReady()
	r.mu.Unlock()
	err := r.tell(ctx, self.name, &n, topic.ID{})
	if err == nil && !known {
		err = r.readNodes(ctx)
	}
	if err != nil {
		r.mu.Lock()
		r.nodes.next = time.Now().Add(retryAfter)
		r.mu.Unlock()
		r.logger.Debug("presence cannot tell the other servers that this one is there", "error", err)
		return
	}
	r.mu.Lock()
	var silent []*node
	for _, n := range r.nodes.byName {
		switch {
		case n == self || !n.gone.IsZero():
		case n.heard:
			n.heard, n.missed = false, 0
		default:
			if n.missed++; n.missed >= silentBeats {
				silent = append(silent, n)
			}
		}
	}
	seen := *r.seen.Load()
	r.mu.Unlock()
	for _, n := range silent {
		// If it, or another about it, has said something since, this is refused.
		if err := r.tell(ctx, n.name, &note{Gone: true}, seen); err == nil {
			r.logger.Warn("another server is silent: who is on its topics leaves", "node", n.name)
		}
	}
}

// readNodes makes those known that were there before this node.
func (r *Recorder) readNodes(ctx context.Context) error {
	page, err := r.log.Newest(ctx, []topic.Pattern{mustPattern(nodesPrefix + "*")}, topic.Limit{Events: maxNodes})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range page.Entries {
		var n note
		name, ok := nodeOf(e.Topic)
		if !ok || json.Unmarshal(e.Data, &n) != nil || r.nodes.byName[name] != nil {
			continue
		}
		known := r.nodes.get(name)
		known.since, known.asks = n.Since, n.Asks
		if n.Hello {
			known.since = e.ID.Seq
		}
		if n.Gone {
			known.gone = time.Now()
		}
	}
	r.nodes.known = true
	r.complete()
	return nil
}

// sweep has a node that is gone hold nobody. Those whom no other holds leave,
// and the oldest node says so.
func (r *Recorder) sweep(n *node) {
	r.mu.Lock()
	tables := slices.Collect(maps.Values(r.topics))
	leads := r.leads()
	n.swept = true
	r.mu.Unlock()
	for _, t := range tables {
		r.mu.Lock()
		var touched []*member
		for m := range t.members.after("") {
			r.release(n.slot, m)
			if m.holder == 0 {
				touched = append(touched, m)
			}
		}
		for _, m := range touched {
			if leads || m.present() {
				r.change(m)
			} else {
				r.tidy(m)
			}
		}
		r.mu.Unlock()
	}
}

// rejoin has all members who are here announced again. mu is held.
func (r *Recorder) rejoin() {
	for _, t := range r.topics {
		for m := range t.members.after("") {
			if m.present() {
				r.change(m)
			}
		}
	}
}

// askAnew is for a node that is another one now, and did not know yet who is there.
// mu is held.
func (r *Recorder) askAnew() {
	r.nodes.self.since, r.nodes.known, r.nodes.alone, r.nodes.next = 0, false, false, time.Time{}
	r.began = topic.ID{}
}

// takeLeave tells the other nodes that this one is gone, after all that it knows.
// It does not wait long: if it cannot, they notice.
func (r *Recorder) takeLeave() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.mu.Lock()
	name, said := r.nodes.self.name, r.nodes.self.since > 0
	due := r.due
	for _, t := range r.cooling {
		if len(t.changed) > 0 {
			due = append(due, t)
		}
	}
	r.due = nil
	r.mu.Unlock()
	if !said {
		return
	}
	if r.isReady() {
		r.announce(ctx, due)
	}
	if err := r.tell(ctx, name, &note{Gone: true}, topic.ID{}); err != nil {
		r.logger.Warn("presence cannot tell the other servers that this one stops", "error", err)
	}
}
