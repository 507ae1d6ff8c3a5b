package index

import (
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// setPolicies makes the policies of all rules.
func (x *Index) setPolicies(bounds *topic.Bounds) {
	policies, ages := keep.Policies(bounds.Rules, bounds.RetainEvents, bounds.RetainAge)
	x.policies, x.ages = make(map[*topic.Rule]*keep.Policy), ages
	for _, p := range policies {
		x.policies[p.Rule] = p
	}
}

// PolicyOf returns the policy of a topic, known or not.
func (x *Index) PolicyOf(name string) *keep.Policy {
	if t := x.topics[name]; t != nil {
		return t.policy
	}
	return x.policies[x.rules.Of(name)]
}

// typeOf names the events of one type of a topic.
type typeOf struct {
	topic *Topic
	typ   string
}

// supersede notes that a new event, which was pushed, has superseded the one
// before it, and returns that one's number; 0 if there is none.
func (x *Index) supersede(t *Topic, seq uint64, typ string) (earlier uint64) {
	switch {
	case t.policy.ByType:
		k := typeOf{t, typ}
		earlier = x.newestOfType[k]
		x.newestOfType[k] = seq
		x.types[seq] = typ
	case t.policy.Supersedes && len(t.seqs) > 1:
		earlier = t.seqs[len(t.seqs)-2]
	}
	return earlier
}

// Superseded reports whether a later event has superseded an event of the
// topic.
func (x *Index) Superseded(t *Topic, seq uint64) bool {
	if t.policy.ByType {
		return x.newestOfType[typeOf{t, x.types[seq]}] != seq
	}
	return t.policy.Supersedes && t.seqs[t.Events()-1] != seq
}
