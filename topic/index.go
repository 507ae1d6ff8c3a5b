package topic

import "strings"

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

// node is where patterns with wildcards end, or part. There are at most twice as
// many as patterns, however long these are.
type node struct {
	segments string           // that lead here from the node above, "*" among them
	children map[string]*node // by the first of their segments
	here     bucket           // patterns that end here
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
	n, rest := &x.root, withoutTail(p)
	for rest != "" {
		n, rest = n.child(rest)
	}
	if strings.HasSuffix(p.String(), wildTail) {
		return &n.deep
	}
	return &n.here
}

// withoutTail gives the segments of a pattern before its "**", if it has one.
func withoutTail(p Pattern) string {
	return strings.TrimSuffix(strings.TrimSuffix(p.String(), wildTail), "/")
}

func firstSegment(s string) string {
	segment, _, _ := strings.Cut(s, "/")
	return segment
}

// child returns the node that the first of some segments lead to, made if missing,
// and those that are left.
func (n *node) child(segments string) (c *node, rest string) {
	first := firstSegment(segments)
	if c = n.children[first]; c == nil {
		c = &node{segments: segments}
		n.adopt(c)
		return c, ""
	}
	if common := commonSegments(c.segments, segments); common < len(c.segments) {
		between := &node{segments: c.segments[:common]}
		n.adopt(between)
		c.segments = c.segments[common+1:]
		between.adopt(c)
		c = between
	}
	return c, strings.TrimPrefix(segments[len(c.segments):], "/")
}

func (n *node) adopt(c *node) {
	if n.children == nil {
		n.children = make(map[string]*node)
	}
	n.children[firstSegment(c.segments)] = c
}

// commonSegments returns the length of the segments that both begin with.
func commonSegments(a, b string) int {
	common := 0
	for i := range min(len(a), len(b)) + 1 {
		endA, endB := i == len(a) || a[i] == '/', i == len(b) || b[i] == '/'
		if endA && endB {
			common = i
		}
		if i == len(a) || i == len(b) || a[i] != b[i] {
			break
		}
	}
	return common
}

// prune lets go of what an emptied pattern needed.
func (x *index) prune(p Pattern) {
	if p.Literal() {
		delete(x.literal, p.String())
		return
	}
	x.root.prune(withoutTail(p))
}

// prune goes down some segments, and on the way back removes nodes that hold
// nothing, and where nothing parts any more.
func (n *node) prune(segments string) {
	if segments == "" {
		return
	}
	c, rest := n.child(segments)
	c.prune(rest)
	switch {
	case len(c.here) > 0 || len(c.deep) > 0 || len(c.children) > 1:
	case len(c.children) == 0:
		delete(n.children, firstSegment(c.segments))
	default:
		for _, only := range c.children {
			only.segments = c.segments + "/" + only.segments
			n.adopt(only)
		}
	}
}

// match calls visit for each bucket that the topic matches; a subscription with
// several matching patterns is visited several times.
func (x *index) match(topic string, visit func(bucket)) {
	if b := x.literal[topic]; b != nil {
		visit(*b)
	}
	x.root.match(topic, visit)
}

// match goes down the rest of a topic. Wildcards never match a segment that begins
// with "$".
func (n *node) match(rest string, visit func(bucket)) {
	if len(n.deep) > 0 && !holdsSystem(rest) {
		visit(n.deep)
	}
	if len(n.children) == 0 {
		return
	}
	for _, first := range [2]string{firstSegment(rest), wildSegment} {
		c := n.children[first]
		if c == nil {
			continue
		}
		switch below, ok := cutSegments(rest, c.segments); {
		case !ok:
		case below == "":
			visit(c.here)
		default:
			c.match(below, visit)
		}
	}
}
