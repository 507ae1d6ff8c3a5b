package jetlog

import (
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// setPolicies makes the policies of all rules.
func (x *index) setPolicies(opts *Options) {
	policies, ages := keep.Policies(opts.Rules, opts.RetainEvents, opts.RetainAge)
	x.policies, x.ages = make(map[*topic.Rule]*keep.Policy), ages
	for _, p := range policies {
		x.policies[p.Rule] = p
	}
}

// policyOf returns the policy of a topic, known or not.
func (x *index) policyOf(name string) *keep.Policy {
	if t := x.topics[name]; t != nil {
		return t.policy
	}
	return x.policies[x.rules.Of(name)]
}

// typeOf names the events of one type of a topic.
type typeOf struct {
	topic *topicLog
	typ   string
}

// supersede notes that a new event, which was pushed, has superseded the one
// before it, and returns that one's number; 0 if there is none.
func (x *index) supersede(t *topicLog, seq uint64, typ string) (earlier uint64) {
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

// superseded reports whether a later event has superseded an event of the
// topic.
func (x *index) superseded(t *topicLog, seq uint64) bool {
	if t.policy.ByType {
		return x.newestOfType[typeOf{t, x.types[seq]}] != seq
	}
	return t.policy.Supersedes && t.seqs[t.events()-1] != seq
}
