package topic

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"
)

// A Rule says how the topics of a pattern are kept and delivered where that
// differs from all others. The zero Rule changes nothing.
type Rule struct {
	Pattern Pattern

	// RetainEvents is how many events each topic keeps, if the log would keep
	// more. nil is as many as the log keeps.
	//
	// 0 makes the topics ephemeral: an event has an id and is delivered to
	// the subscriptions whose Start was made before it came, and is not kept.
	// Who is not ready for it is given it later, in the order of the log, as long
	// as the hub's tail has it (the newest 4,096 entries and 16 MiB of data of
	// all topics), and at a time at most the newest 256 and 64 KiB of those that
	// lack. What else lacks is no gap. Only the end of a topic is kept.
	//
	// 1 makes them last-value topics: an event supersedes the one before it.
	RetainEvents *int

	// RetainAge is how long events, and the end of a topic, are kept, if the
	// log would keep them longer. 0 is as long as the log does.
	RetainAge time.Duration

	// Slow is what becomes of the events that a subscriber has no time for.
	Slow Slow

	// Batch, if it is more than 0, is how long a live subscriber is given
	// nothing after it was given an event of these topics. Then it gets
	// everything that came meanwhile, of whatever topic, in one batch. At most
	// MaxBatch.
	Batch time.Duration
}

// MaxBatch bounds Rule.Batch, so that heartbeats are never late by more.
const MaxBatch = 10 * time.Second

// Slow is a policy for subscribers that do not keep up.
type Slow uint8

const (
	// SlowResume: they lag, and are given everything from the log as long as
	// it is there.
	SlowResume Slow = iota
	// SlowConflate: an event supersedes the earlier ones of its topic. Who
	// lags, or waits for a Batch, is given only what is not superseded.
	SlowConflate
	// SlowConflateTypes: the same, for each event type of a topic.
	SlowConflateTypes
	// SlowDrop: who was live, and has missed events while its sink was busy,
	// goes on with the present when it is not, and is told of one gap. Nothing
	// is dropped from a replay: from the cursor of a Start up to the present.
	SlowDrop
)

// Ephemeral reports whether events of the topics are not kept.
func (r *Rule) Ephemeral() bool { return r.RetainEvents != nil && *r.RetainEvents == 0 }

// Supersedes reports whether a later event of a topic makes an earlier one
// needless for those who have not been given it: its loss is no gap. The end
// of a topic neither supersedes nor is superseded.
func (r *Rule) Supersedes(later, earlier *Event) bool {
	switch {
	case later.IsEnd() || earlier.IsEnd():
		return false
	case r.Slow == SlowConflate, r.RetainEvents != nil && *r.RetainEvents == 1:
		return true
	}
	return r.Slow == SlowConflateTypes && later.Type == earlier.Type
}

// conflates reports whether who lags is not given what is superseded.
func (r *Rule) conflates() bool { return r.Slow == SlowConflate || r.Slow == SlowConflateTypes }

func (r *Rule) check() error {
	switch {
	case r.Pattern == Pattern{}:
		return errors.New("has no pattern")
	case r.RetainEvents != nil && *r.RetainEvents < 0:
		return errors.New("retains less than no events")
	case r.RetainAge < 0:
		return errors.New("has a negative age")
	case r.Ephemeral() && r.Slow != SlowResume:
		return errors.New("keeps no events, so that there is nothing to decide for slow subscribers")
	case r.Slow > SlowDrop:
		return errors.New("has an unknown policy for slow subscribers")
	case r.Batch < 0 || r.Batch > MaxBatch:
		return fmt.Errorf("has a batching interval that is not from 0 to %v", MaxBatch)
	}
	return nil
}

// Rules find the rule of a topic. They do not change, and may be used at the
// same time. A nil *Rules has none.
type Rules struct {
	rules        []Rule
	anyEphemeral bool

	mu    sync.RWMutex
	known map[string]*Rule // some topics' rules; guarded by mu
}

const (
	// MaxRules bounds NewRules: a topic that is seen for the first time is
	// compared with each.
	MaxRules = 256
	// knownRules bounds Rules.known. Above it, all are found again.
	knownRules = 1 << 16
)

// NewRules checks the rules. Of those whose pattern matches a topic, the first
// is the topic's.
func NewRules(rules ...Rule) (*Rules, error) {
	if len(rules) > MaxRules {
		return nil, fmt.Errorf("topic: %d rules, at most %d are possible", len(rules), MaxRules)
	}
	r := &Rules{rules: rules, known: make(map[string]*Rule)}
	for i := range rules {
		if err := rules[i].check(); err != nil {
			return nil, fmt.Errorf("topic: the rule of %s %w", quote(rules[i].Pattern.String()), err)
		}
		r.anyEphemeral = r.anyEphemeral || rules[i].Ephemeral()
	}
	return r, nil
}

func (r *Rules) none() bool { return r == nil || len(r.rules) == 0 }

// ephemeral reports whether a topic may be.
func (r *Rules) ephemeral() bool { return r != nil && r.anyEphemeral }

// noRule is the rule of topics that have none.
var noRule Rule

// Of returns the rule of a topic; the zero Rule if it has none. The same rule
// is always the same pointer, and nobody may change it.
func (r *Rules) Of(topic string) *Rule {
	if r.none() {
		return &noRule
	}
	r.mu.RLock()
	rule := r.known[topic]
	r.mu.RUnlock()
	if rule != nil {
		return rule
	}
	rule = &noRule
	for i := range r.rules {
		if r.rules[i].Pattern.Match(topic) {
			rule = &r.rules[i]
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= knownRules {
		clear(r.known)
	}
	r.known[topic] = rule
	return rule
}

// All gives every rule that Of may return.
func (r *Rules) All() iter.Seq[*Rule] {
	return func(yield func(*Rule) bool) {
		if !yield(&noRule) || r == nil {
			return
		}
		for i := range r.rules {
			if !yield(&r.rules[i]) {
				return
			}
		}
	}
}

// conflate removes, in place, the entries that a later one of the list
// supersedes, for those who lag or wait.
func conflate(entries []ruled) []ruled {
	if !slices.ContainsFunc(entries, func(e ruled) bool { return e.rule.conflates() }) {
		return entries
	}
	type key struct{ topic, typ string }
	seen := make(map[key]bool)
	n := len(entries)
	for _, e := range slices.Backward(entries) {
		if e.rule.conflates() && !e.IsEnd() {
			k := key{topic: e.Topic}
			if e.rule.Slow == SlowConflateTypes {
				k.typ = e.Type
			}
			if seen[k] {
				continue
			}
			seen[k] = true
		}
		n--
		entries[n] = e
	}
	return entries[n:]
}
