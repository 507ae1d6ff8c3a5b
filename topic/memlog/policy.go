package memlog

import (
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// setPolicies makes the policies of all rules.
func (l *Log) setPolicies() {
	l.policies, l.ages = keep.Policies(l.opts.Rules, l.opts.RetainEvents, l.opts.RetainAge)
	l.policyOfRule = make(map[*topic.Rule]uint16)
	for i, p := range l.policies {
		l.policyOfRule[p.Rule] = uint16(i)
	}
}

// policyOf returns the policy of a topic, known or not.
func (l *Log) policyOf(name string) *keep.Policy {
	if t := l.topics[name]; t != nil {
		return l.policies[t.policy]
	}
	return l.policies[l.policyOfRule[l.opts.Rules.Of(name)]]
}

// typeOf names the events of one type of a topic.
type typeOf struct {
	topic *topicLog
	typ   string
}

// supersede marks the event that a new one of its topic supersedes.
func (l *Log) supersede(t *topicLog, e *topic.Entry) {
	switch p := l.policies[t.policy]; {
	case p.ByType:
		k := typeOf{t, e.Type}
		if earlier := l.newestOfType[k]; earlier != nil {
			earlier.Supersede()
		}
		l.newestOfType[k] = e
	case p.Supersedes && t.count > 1:
		t.at(t.Len() - 2).Supersede()
	}
}

// lossOf returns the newest entry of a known topic that was lost. If none is
// superseded, that is the newest one that was removed.
func (l *Log) lossOf(t *topicLog) keep.Loss {
	if l.policies[t.policy].Supersedes {
		return l.lostBeside[t]
	}
	return t.gone
}
