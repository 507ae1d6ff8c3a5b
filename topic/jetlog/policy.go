package jetlog

import (
	"strings"

	"github.com/duplexhq/duplex/topic"
)

// A policy is a rule as the log applies it.
type policy struct {
	rule       *topic.Rule
	events     int // kept of each topic
	age        *age
	supersedes bool // what is removed may have been superseded, and is not lost then
	byType     bool // only an event of the same type supersedes
	// forgotten stands in for what was lost of topics of this rule that are no
	// longer known.
	forgotten loss
}

// An age is a limit that the topics of some policies have. Their entries
// expire in the order of the log.
type age struct {
	limit   int64  // in nanoseconds
	expires int64  // when the oldest entry is over age, or earlier; Unix nanoseconds; never if there is none
	front   uint64 // no entry up to here is left
}

// expiry returns when an entry of that time is over age.
func (a *age) expiry(nanos int64) int64 {
	if nanos > never-a.limit {
		return never
	}
	return nanos + a.limit
}

// setPolicies makes the policies of all rules.
func (x *index) setPolicies(opts *Options) {
	x.policies = make(map[*topic.Rule]*policy)
	ages := make(map[int64]*age)
	for rule := range opts.Rules.All() {
		p := &policy{rule: rule, events: opts.RetainEvents}
		if rule.RetainEvents != nil {
			p.events = min(p.events, *rule.RetainEvents)
		}
		last, other := topic.Event{}, topic.Event{Type: "other"}
		p.supersedes = rule.Supersedes(&last, &last)
		p.byType = p.supersedes && !rule.Supersedes(&last, &other)
		limit := int64(opts.RetainAge)
		if rule.RetainAge > 0 {
			limit = min(limit, int64(rule.RetainAge))
		}
		if ages[limit] == nil {
			ages[limit] = &age{limit: limit, expires: never}
			x.ages = append(x.ages, ages[limit])
		}
		p.age = ages[limit]
		x.policies[rule] = p
	}
}

// policyOf returns the policy of a topic, known or not.
func (x *index) policyOf(name string) *policy {
	if t := x.topics[name]; t != nil {
		return t.policy
	}
	return x.policies[x.rules.Of(name)]
}

// mayHave reports whether the policy may be that of a topic that the pattern
// matches.
func (p *policy) mayHave(pattern topic.Pattern) bool {
	return p.rule.Pattern == topic.Pattern{} || overlap(p.rule.Pattern.String(), pattern.String())
}

// overlap reports whether there may be a name that both patterns match.
func overlap(a, b string) bool {
	for {
		segmentA, restA, moreA := strings.Cut(a, "/")
		segmentB, restB, moreB := strings.Cut(b, "/")
		switch {
		case segmentA == "**", segmentB == "**":
			return true
		case segmentA != segmentB && segmentA != "*" && segmentB != "*":
			return false
		case !moreA || !moreB:
			return moreA == moreB
		}
		a, b = restA, restB
	}
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
	case t.policy.byType:
		k := typeOf{t, typ}
		earlier = x.newestOfType[k]
		x.newestOfType[k] = seq
		x.types[seq] = typ
	case t.policy.supersedes && len(t.seqs) > 1:
		earlier = t.seqs[len(t.seqs)-2]
	}
	return earlier
}

// superseded reports whether a later event has superseded an event of the
// topic.
func (x *index) superseded(t *topicLog, seq uint64) bool {
	if t.policy.byType {
		return x.newestOfType[typeOf{t, x.types[seq]}] != seq
	}
	return t.policy.supersedes && t.seqs[t.events()-1] != seq
}
