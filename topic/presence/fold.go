package presence

import (
	"encoding/json"

	"github.com/duplexhq/duplex/topic"
)

// observe puts into the table what the log has told. The log waits for it, so
// it does nothing else.
func (r *Recorder) observe(entries []*topic.Entry) {
	if entries == nil {
		r.fallBehind()
		return
	}
	end := &entries[len(entries)-1].ID
	for i, e := range entries {
		if e.Topic[0] != '$' {
			continue
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.behind {
			return
		}
		for _, e := range entries[i:] {
			r.fold(e)
		}
		break
	}
	r.seen.Store(end)
}

// fallBehind is for when some of the log was missed: what the table says may not
// be so. The recorder starts anew.
func (r *Recorder) fallBehind() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behind = true
	if r.isWhole.Swap(false) {
		r.ready = make(chan struct{})
	}
	r.rouse()
}

// fold is observe for one entry. mu is held.
func (r *Recorder) fold(e *topic.Entry) {
	if e.IsEnd() {
		return
	}
	if name, ok := Of(e.Topic); ok {
		var t told
		if json.Unmarshal(e.Data, &t) == nil {
			r.take(e.ID, func() { r.foldChanges(name, &t) })
		}
	} else if name, ok := nodeOf(e.Topic); ok && r.shared {
		var n note
		if json.Unmarshal(e.Data, &n) == nil {
			r.hear(name, e.ID, &n)
		}
	}
}

// foldChanges is for the joins and leaves of a topic.
func (r *Recorder) foldChanges(name string, t *told) {
	from := r.nodes.self
	if r.shared {
		from = r.nodes.get(t.Node)
		from.heard = true
	}
	for _, joined := range t.Joins {
		m := r.getOrMake(name, joined.Member)
		m.announce(true)
		r.holdFor(from, m)
		r.right(m, from)
	}
	for _, left := range t.Leaves {
		if m := r.get(name, left.Member); m != nil {
			m.announce(false)
			r.release(from.slot, m)
			r.right(m, from)
		}
	}
}

// foldMoves is for what a node tells the others of members that are announced, or not,
// whatever it says.
func (r *Recorder) foldMoves(node string, n *note) {
	from := r.nodes.get(node)
	n.Takes.each(func(name, called string) {
		m := r.getOrMake(name, called)
		r.holdFor(from, m)
		r.right(m, from)
	})
	n.Frees.each(func(name, called string) {
		if m := r.get(name, called); m != nil {
			r.release(from.slot, m)
			r.right(m, from)
		}
	})
}

// right notes a member if it is for this node to announce something, after
// another one has told of it: what was told at the same time may not fit together.
// mu is held.
func (r *Recorder) right(m *member, from *node) {
	nobodys := m.announced && m.holder == 0 && (from == r.nodes.self || r.leads())
	if nobodys || m.present() || r.holds(r.nodes.self.slot, m) {
		r.change(m)
	} else {
		r.tidy(m)
	}
}
