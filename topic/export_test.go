package topic

import "fmt"

// Remains says what the hub still holds of subscribers. Nothing may be going
// on.
func (h *Hub) Remains() (left []string) {
	note := func(held bool, what string) {
		if held {
			left = append(left, what)
		}
	}
	note(len(h.counts) > 0, fmt.Sprint("counts ", h.counts))
	note(len(h.catchUps.waiting) > 0, "catch-ups")
	for i, s := range h.shards {
		root := &s.index.root
		note(len(s.index.literal)+len(root.children)+len(root.here)+len(root.deep) > 0, fmt.Sprintf("index of shard %d: %v", i, s.index))
		note(len(s.members) > 0 || s.active.Load(), fmt.Sprintf("members of shard %d", i))
		note(s.beats.first != nil || s.beats.last != nil, fmt.Sprintf("heartbeats of shard %d", i))
		for _, sub := range s.dirty[:cap(s.dirty)] {
			note(sub != nil, fmt.Sprintf("a dirty subscriber of shard %d", i))
		}
		note(len(s.late.subs) > 0, fmt.Sprintf("laggards of shard %d", i))
		note(len(s.rests) > 0, fmt.Sprintf("rests of shard %d", i))
	}
	return left
}

const (
	TailEntries   = tailEntries
	CatchUpEvents = catchUpEvents
)

// Began is where events of ephemeral topics begin to come.
func (s Start) Began() uint64 { return max(s.began.Seq, s.Cursor.Seq) }

// KnownRules bounds Known.
const KnownRules = knownRules

// Known is how many topics' rules are known without a search.
func (r *Rules) Known() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.known)
}
