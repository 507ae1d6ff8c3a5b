package presence

import (
	"crypto/rand"
	"strings"
	"time"
)

// forgetAfter is how long a node that is gone is known. What it has said last
// may come so late.
const forgetAfter = time.Minute

// A node is a recorder of those that share the log.
type node struct {
	name   string
	slot   slot
	since  uint64    // its hello's sequence number; 0 if that was not heard of
	heard  bool      // since this node's beat before
	missed int       // this node's beats since it was heard
	asks   bool      // it does not know yet who is there
	gone   time.Time // when it was; zero while it lives
	swept  bool      // then, it holds nobody any more
}

// nodes are those that are known. The recorder's mu guards all of it.
type nodes struct {
	self   *node
	byName map[string]*node
	slots  []*node   // by slot; the first is nobody's, nor are those that are nil
	next   time.Time // of the next beat
	known  bool      // all that were there before this one
	asked  uint64    // the newest hello that is to be answered; 0 if there is none
	alone  bool      // nobody is left who knows who is there: it begins anew
	recent []news    // what this node has read of members since it asked
}

func nodeOf(name string) (node string, ok bool) { return strings.CutPrefix(name, nodesPrefix) }

// begin makes this node another one than before.
func (n *nodes) begin() {
	if n.byName == nil {
		n.byName, n.slots = make(map[string]*node), make([]*node, 1)
	}
	n.self = n.get(rand.Text()[:10])
	n.next = time.Time{}
}

// get returns the node of that name.
func (n *nodes) get(name string) *node {
	if known := n.byName[name]; known != nil {
		return known
	}
	name = strings.Clone(name) // it is part of a message
	made := &node{name: name, slot: n.place()}
	n.byName[name], n.slots[made.slot] = made, made
	return made
}

// place returns a slot that is free.
func (n *nodes) place() slot {
	for i, taken := range n.slots {
		if i > 0 && taken == nil {
			return slot(i)
		}
	}
	n.slots = append(n.slots, nil)
	return slot(len(n.slots) - 1)
}

// speaks reports whether this node may tell of members: it knows who is there, and
// the others know of it. mu is held.
func (r *Recorder) speaks() bool { return r.isReady() && (!r.shared || r.nodes.self.since > 0) }

// leads reports whether this node is the oldest of those that live and know who is
// there. mu is held.
func (r *Recorder) leads() bool {
	if !r.speaks() {
		return false
	}
	for _, n := range r.nodes.byName {
		if n != r.nodes.self && n.gone.IsZero() && !n.asks && n.since <= r.nodes.self.since {
			return false
		}
	}
	return true
}

// until has f called with the times at which attend has something to do. mu is held.
func (n *nodes) until(stay time.Duration, f func(time.Time)) {
	f(n.next)
	for _, node := range n.byName {
		if end, ends := node.end(stay); ends {
			f(end)
		}
	}
}

// end is when a node that is gone holds nobody any more, and then when it is
// forgotten.
func (n *node) end(stay time.Duration) (end time.Time, ends bool) {
	switch {
	case n.gone.IsZero():
		return end, false
	case n.swept:
		return n.gone.Add(forgetAfter + stay), true
	}
	return n.gone.Add(stay), true
}

// holdFor notes that a node holds a member. mu is held.
func (r *Recorder) holdFor(n *node, m *member) {
	if !n.swept {
		r.hold(n.slot, m)
	}
}
