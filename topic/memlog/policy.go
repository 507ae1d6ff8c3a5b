package memlog

import (
	"slices"
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

// expiry returns when an entry is over age.
func (a *age) expiry(e *topic.Entry) int64 {
	taken := e.Time().UnixNano()
	if taken > never-a.limit {
		return never
	}
	return taken + a.limit
}

// setPolicies makes the policies of all rules.
func (l *Log) setPolicies() {
	l.policyOfRule = make(map[*topic.Rule]uint16)
	ages := make(map[int64]*age)
	for rule := range l.opts.Rules.All() {
		p := policy{rule: rule, events: l.opts.RetainEvents}
		if rule.RetainEvents != nil {
			p.events = min(p.events, *rule.RetainEvents)
		}
		last, other := topic.Event{}, topic.Event{Type: "other"}
		p.supersedes = rule.Supersedes(&last, &last)
		p.byType = p.supersedes && !rule.Supersedes(&last, &other)
		limit := int64(l.opts.RetainAge)
		if rule.RetainAge > 0 {
			limit = min(limit, int64(rule.RetainAge))
		}
		if ages[limit] == nil {
			ages[limit] = &age{limit: limit, expires: never}
			l.ages = append(l.ages, ages[limit])
		}
		p.age = ages[limit]
		l.policyOfRule[rule] = uint16(len(l.policies))
		l.policies = append(l.policies, p)
	}
}

// policyOf returns the policy of a topic, known or not.
func (l *Log) policyOf(name string) *policy {
	if t := l.topics[name]; t != nil {
		return &l.policies[t.policy]
	}
	return &l.policies[l.policyOfRule[l.opts.Rules.Of(name)]]
}

// ephemeral reports whether events are not kept.
func (p *policy) ephemeral() bool { return p.rule.Ephemeral() }

// mayHave reports whether the policy may be that of a topic that a pattern
// matches.
func (p *policy) mayHave(patterns []topic.Pattern) bool {
	return p.rule.Pattern == topic.Pattern{} || slices.ContainsFunc(patterns, func(pattern topic.Pattern) bool {
		return overlap(p.rule.Pattern.String(), pattern.String())
	})
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

// supersede marks the event that a new one of its topic supersedes.
func (l *Log) supersede(t *topicLog, e *topic.Entry) {
	switch p := &l.policies[t.policy]; {
	case p.byType:
		k := typeOf{t, e.Type}
		if earlier := l.newestOfType[k]; earlier != nil {
			earlier.Supersede()
		}
		l.newestOfType[k] = e
	case p.supersedes && t.count > 1:
		t.at(t.len() - 2).Supersede()
	}
}

// lossOf returns the newest entry of a known topic that was lost. If none is
// superseded, that is the newest one that was removed.
func (l *Log) lossOf(t *topicLog) loss {
	if l.policies[t.policy].supersedes {
		return l.lostBeside[t]
	}
	return t.gone
}
