package keep

import (
	"testing"
	"time"

	"github.com/duplexhq/duplex/topic"
)

func TestOverlap(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a", "*", true}, {"a", "**", true}, {"a/b", "*", false},
		{"a/*", "*/b", true}, {"a/*", "b/*", false}, {"a/**", "a", false}, {"a/**", "*/b/c", true},
		{"a/**", "b/**", false}, {"a/*/c", "a/b/*", true}, {"a/*/c", "a/b/d", false}, {"*/x/**", "a/*", false},
		{"*/x/**", "a/**", true}, {"a/b", "a/b/c", false}, {"a/*", "a/b/**", false},
	} {
		if overlap(tt.a, tt.b) != tt.want || overlap(tt.b, tt.a) != tt.want {
			t.Errorf("%s and %s: %v", tt.a, tt.b, !tt.want)
		}
	}
}

func patterns(t *testing.T, texts ...string) (list []topic.Pattern) {
	t.Helper()
	for _, text := range texts {
		p, err := topic.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// Limits of rules only shorten; those that have an age in common share it.
func TestPolicies(t *testing.T) {
	of := patterns(t, "few/*", "many/*", "short/**", "last/*", "types/*")
	rules, err := topic.NewRules(
		topic.Rule{Pattern: of[0], RetainEvents: new(3)},
		topic.Rule{Pattern: of[1], RetainEvents: new(300), RetainAge: 2 * time.Hour},
		topic.Rule{Pattern: of[2], RetainAge: time.Minute},
		topic.Rule{Pattern: of[3], Slow: topic.SlowConflate},
		topic.Rule{Pattern: of[4], Slow: topic.SlowConflateTypes, RetainAge: time.Minute},
	)
	if err != nil {
		t.Fatal(err)
	}
	policies, ages := Policies(rules, 100, time.Hour)
	if len(policies) != 6 || len(ages) != 2 {
		t.Fatalf("%d policies, %d ages", len(policies), len(ages))
	}
	for i, want := range []struct {
		pattern            string
		events             int
		age                time.Duration
		supersedes, byType bool
	}{
		{"", 100, time.Hour, false, false},
		{"few/*", 3, time.Hour, false, false},
		{"many/*", 100, time.Hour, false, false},
		{"short/**", 100, time.Minute, false, false},
		{"last/*", 100, time.Hour, true, false},
		{"types/*", 100, time.Minute, true, true},
	} {
		p := policies[i]
		if p.Rule.Pattern.String() != want.pattern || p.Events != want.events || p.Age.Limit != int64(want.age) || p.Supersedes != want.supersedes || p.ByType != want.byType {
			t.Errorf("policy %d: %+v with %+v, want %+v", i, p, p.Age, want)
		}
	}
	for _, tt := range []struct {
		policy   int
		patterns []string
		want     bool
	}{
		{1, []string{"*/x"}, true},
		{1, []string{"many/*"}, false},
		{1, []string{"few/x"}, false}, // its own rule is known
		{1, []string{"few/x", "many/*"}, false},
		{0, []string{"many/*"}, true}, // what no other rule is for
		{0, []string{"x"}, false},
	} {
		if got := policies[tt.policy].MayHave(patterns(t, tt.patterns...)); got != tt.want {
			t.Errorf("%s may be of %q: %v", tt.patterns, policies[tt.policy].Rule.Pattern, got)
		}
	}
}
