package keep

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// Never is a time that does not come, in Unix nanoseconds.
const Never = math.MaxInt64

// A Policy is a rule as a log applies it.
type Policy struct {
	Rule       *topic.Rule
	Events     int // kept of each topic
	Age        *Age
	Supersedes bool // what is removed may have been superseded, and is not lost then
	ByType     bool // only an event of the same type supersedes
	// Forgotten stands in for what was lost of topics of this rule that are no
	// longer known.
	Forgotten Loss
}

// An Age is a limit that the topics of some policies have. Their entries
// expire in the order of the log.
type Age struct {
	Limit   int64  // in nanoseconds
	Expires int64  // when the oldest entry is over age, or earlier; Unix nanoseconds; Never if there is none
	Front   uint64 // no entry up to here is left
}

// Expiry returns when an entry of that time is over age; both are Unix
// nanoseconds.
func (a *Age) Expiry(nanos int64) int64 {
	if nanos > Never-a.Limit {
		return Never
	}
	return nanos + a.Limit
}

// Policies makes the policies of all rules, in their order, where no topic may
// keep more than so many events, for longer than an age.
func Policies(rules *topic.Rules, events int, age time.Duration) (policies []*Policy, ages []*Age) {
	byLimit := make(map[int64]*Age)
	for rule := range rules.All() {
		p := &Policy{Rule: rule, Events: events}
		if rule.RetainEvents != nil {
			p.Events = min(p.Events, *rule.RetainEvents)
		}
		last, other := topic.Event{}, topic.Event{Type: "other"}
		p.Supersedes = rule.Supersedes(&last, &last)
		p.ByType = p.Supersedes && !rule.Supersedes(&last, &other)
		limit := int64(age)
		if rule.RetainAge > 0 {
			limit = min(limit, int64(rule.RetainAge))
		}
		if byLimit[limit] == nil {
			byLimit[limit] = &Age{Limit: limit, Expires: Never}
			ages = append(ages, byLimit[limit])
		}
		p.Age = byLimit[limit]
		policies = append(policies, p)
	}
	return policies, ages
}

// MayHave reports whether the policy may be that of a topic that one of the
// patterns matches. Literal ones do not count: the rules say whose they are.
func (p *Policy) MayHave(patterns []topic.Pattern) bool {
	return slices.ContainsFunc(patterns, func(pattern topic.Pattern) bool {
		return !pattern.Literal() && (p.Rule.Pattern == topic.Pattern{} || overlap(p.Rule.Pattern.String(), pattern.String()))
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

// A Loss is an entry that was removed, and when that was on the loss clock.
type Loss struct{ Seq, At uint64 }

// Hits reports whether a reader that was given everything up to seq, and told
// of the losses up to told, misses the entry.
func (x Loss) Hits(seq, told uint64) bool { return x.Seq > seq && x.At > told }
