package topic_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/duplexhq/duplex/topic"
)

func pattern(t testing.TB, s string) topic.Pattern {
	t.Helper()
	p, err := topic.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func rules(t testing.TB, list ...topic.Rule) *topic.Rules {
	t.Helper()
	r, err := topic.NewRules(list...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// "Of those whose pattern matches a topic, the first is the topic's."
func TestRulesOf(t *testing.T) {
	r := rules(t,
		topic.Rule{Pattern: pattern(t, "a/b"), Batch: 1},
		topic.Rule{Pattern: pattern(t, "a/*"), Batch: 2},
		topic.Rule{Pattern: pattern(t, "**"), Batch: 3},
	)
	for range 2 { // found, and known
		for name, want := range map[string]time.Duration{"a/b": 1, "a/c": 2, "a": 3, "a/b/c": 3, "$a": 0} {
			if got := r.Of(name); got.Batch != want {
				t.Errorf("%s: %+v, want %d", name, got, want)
			}
		}
	}
	if r.Of("a/c") != r.Of("a/d") {
		t.Error("the same rule is not the same pointer")
	}
	var none *topic.Rules
	if got := none.Of("a"); *got != (topic.Rule{}) || got != rules(t).Of("b") || got != r.Of("$a") {
		t.Errorf("no rule: %+v", got)
	}
	if all := slices.Collect(r.All()); len(all) != 4 || all[0] != none.Of("a") || all[2] != r.Of("a/c") {
		t.Errorf("all: %v", all)
	}
	if all := slices.Collect(none.All()); len(all) != 1 {
		t.Errorf("all of none: %v", all)
	}
}

// However many topics there are, what is known of them is bounded.
func TestRulesOfManyTopics(t *testing.T) {
	r := rules(t, topic.Rule{Pattern: pattern(t, "a/*"), Batch: 1})
	for i := range 3 * topic.KnownRules {
		if got := r.Of(fmt.Sprint("a/", i)).Batch; got != 1 {
			t.Fatalf("topic %d: %d", i, got)
		}
		if n := r.Known(); n > topic.KnownRules {
			t.Fatalf("%d topics are known", n)
		}
	}
}

func TestNewRulesRefuses(t *testing.T) {
	a := pattern(t, "a")
	for _, tt := range []struct {
		rule topic.Rule
		want string
	}{
		{topic.Rule{}, "has no pattern"},
		{topic.Rule{Pattern: a, RetainEvents: new(-1)}, "less than no events"},
		{topic.Rule{Pattern: a, RetainAge: -1}, "negative age"},
		{topic.Rule{Pattern: a, RetainEvents: new(0), Slow: topic.SlowDrop}, "keeps no events"},
		{topic.Rule{Pattern: a, Slow: topic.SlowDrop + 1}, "unknown policy"},
		{topic.Rule{Pattern: a, Batch: -1}, "from 0 to 10s"},
		{topic.Rule{Pattern: a, Batch: topic.MaxBatch + 1}, "from 0 to 10s"},
	} {
		if _, err := topic.NewRules(topic.Rule{Pattern: a}, tt.rule); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.rule, err, tt.want)
		}
	}
	if _, err := topic.NewRules(make([]topic.Rule, topic.MaxRules+1)...); err == nil || !strings.Contains(err.Error(), "at most 256") {
		t.Errorf("too many: %v", err)
	}
	rules(t, topic.Rule{Pattern: a, RetainEvents: new(0), Batch: topic.MaxBatch})
}

func TestSupersedes(t *testing.T) {
	x, y, end := &topic.Event{Type: "x"}, &topic.Event{Type: "y"}, &topic.Event{Type: topic.TypeEnd}
	for _, tt := range []struct {
		rule        topic.Rule
		same, other bool
	}{
		{topic.Rule{}, false, false},
		{topic.Rule{RetainEvents: new(0)}, false, false},
		{topic.Rule{RetainEvents: new(1)}, true, true},
		{topic.Rule{RetainEvents: new(2)}, false, false},
		{topic.Rule{Slow: topic.SlowConflate}, true, true},
		{topic.Rule{Slow: topic.SlowConflateTypes}, true, false},
		{topic.Rule{Slow: topic.SlowConflateTypes, RetainEvents: new(1)}, true, true},
		{topic.Rule{Slow: topic.SlowDrop}, false, false},
	} {
		if tt.rule.Supersedes(x, x) != tt.same || tt.rule.Supersedes(x, y) != tt.other {
			t.Errorf("%+v: %v, %v", tt.rule, tt.rule.Supersedes(x, x), tt.rule.Supersedes(x, y))
		}
		if tt.rule.Supersedes(end, x) || tt.rule.Supersedes(x, end) {
			t.Errorf("%+v: an end supersedes, or is superseded", tt.rule)
		}
	}
}

// What a topic's rule costs does not grow with the number of rules.
func BenchmarkRulesOf(b *testing.B) {
	for _, n := range []int{1, topic.MaxRules} {
		b.Run(fmt.Sprint("rules=", n), func(b *testing.B) {
			var list []topic.Rule
			for i := range n {
				list = append(list, topic.Rule{Pattern: pattern(b, fmt.Sprintf("topic/%d/**", i))})
			}
			r := rules(b, list...)
			var names [1000]string
			for i := range names {
				names[i] = fmt.Sprintf("topic/%d/x", i)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				r.Of(names[i%len(names)])
				i++
			}
		})
	}
}
