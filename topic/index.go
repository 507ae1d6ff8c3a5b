package topic

import (
	"iter"
	"strings"
)

// index finds the subscriptions that an event matches. Its cost depends on the
// segments of the event's topic and on the matches, not on the number of other
// subscriptions.
type index struct {
	literal map[string]*bucket
	root    node // of the patterns with wildcards
}

// bucket holds the subscriptions of one topic or pattern, in no order.
type bucket []place

// place is one pattern of one subscription.
type place struct {
	*subscription
	pattern int // index into subscription.patterns
}

// node is a segment of the patterns with wildcards.
type node struct {
	children map[string]*node // by segment; "*" is the wildcard's
	here     bucket           // patterns that end with this segment
	deep     bucket           // patterns that go on with "**"
}

func newIndex() index { return index{literal: make(map[string]*bucket)} }

func (x *index) add(s *subscription) {
	for i, p := range s.patterns {
		b := x.bucket(p)
		if len(*b) > 0 && len(s.patterns) == 1 && len((*b)[0].patterns) == 1 {
			s.patterns = (*b)[0].patterns // the same, once for all
		}
		*s.slotOf(i) = int32(len(*b))
		*b = append(*b, place{s, i})
	}
}

func (x *index) remove(s *subscription) {
	for i, p := range s.patterns {
		b := x.bucket(p)
		last := len(*b) - 1
		moved, slot := (*b)[last], *s.slotOf(i)
		(*b)[slot] = moved
		*moved.slotOf(moved.pattern) = slot
		(*b)[last] = place{}
		*b = (*b)[:last]
		if last == 0 {
			x.prune(p)
		}
	}
}

// bucket returns the place for a pattern's subscriptions, made if missing.
func (x *index) bucket(p Pattern) *bucket {
	if p.Literal() {
		b := x.literal[p.String()]
		if b == nil {
			b = new(bucket)
			x.literal[p.String()] = b
		}
		return b
	}
	n := &x.root
	for segment := range p.Segments() {
		if segment == "**" {
			return &n.deep
		}
		child := n.children[segment]
		if child == nil {
			child = new(node)
			if n.children == nil {
				n.children = make(map[string]*node)
			}
			n.children[segment] = child
		}
		n = child
	}
	return &n.here
}

// prune lets go of what an emptied pattern needed.
func (x *index) prune(p Pattern) {
	if p.Literal() {
		delete(x.literal, p.String())
		return
	}
	next, stop := iter.Pull(p.Segments())
	defer stop()
	x.root.prune(next)
}

// prune reports whether the node holds nothing any more.
func (n *node) prune(next func() (string, bool)) bool {
	if segment, ok := next(); ok && segment != "**" {
		if n.children[segment].prune(next) {
			delete(n.children, segment)
		}
	}
	return len(n.children) == 0 && len(n.here) == 0 && len(n.deep) == 0
}

// match calls visit for each bucket that the topic matches; a subscription with
// several matching patterns is visited several times.
func (x *index) match(topic string, visit func(bucket)) {
	if b := x.literal[topic]; b != nil {
		visit(*b)
	}
	if len(x.root.children) > 0 || len(x.root.deep) > 0 {
		x.root.match(topic, visit)
	}
}

// match goes down the rest of a topic's segments. Wildcards never match a
// segment that begins with "$".
func (n *node) match(rest string, visit func(bucket)) {
	if len(n.deep) > 0 && !holdsSystem(rest) {
		visit(n.deep)
	}
	segment, rest, more := strings.Cut(rest, "/")
	for _, name := range [2]string{segment, "*"} {
		if name == "*" && isSystem(segment) {
			continue
		}
		child := n.children[name]
		if child == nil {
			continue
		}
		if more {
			child.match(rest, visit)
		} else {
			visit(child.here)
		}
	}
}
