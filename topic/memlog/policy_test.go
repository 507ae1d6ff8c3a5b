package memlog

import (
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

func rules(t *testing.T, list ...topic.Rule) *topic.Rules {
	t.Helper()
	r, err := topic.NewRules(list...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What is forgotten of topics of one rule is no gap of others.
func TestForgottenByRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, &Options{Rules: rules(t,
			topic.Rule{Pattern: parse(t, "short/*")[0], RetainAge: time.Second},
			topic.Rule{Pattern: parse(t, "game/*")[0], RetainEvents: new(0)},
		)})
		appendN(t, l, "a", 1)
		for i := range 10 {
			appendN(t, l, "short/"+strconv.Itoa(i), 1)
		}
		time.Sleep(2 * time.Second)
		for pattern, want := range map[string]bool{
			"a": false, "b": false, "b/*": false, "game/1": false, "game/*": false, "game/1/**": false,
			"short/1": true, "short/x": true, "short/*": true, "*/1": true, "**": true,
		} {
			if page := read(t, l, 1, pattern); (len(page.Gaps) > 0) != want {
				t.Errorf("%s: gaps %v", pattern, page.Gaps)
			}
		}
		check(t, l)
	})
}

// A search for losses lets go of the lock as any other, and finds what is lost
// meanwhile.
func TestLongSearchForLosses(t *testing.T) {
	const topics = 3 * keep.SearchItems
	l := open(t, &Options{RetainEvents: 1})
	appendN(t, l, "last/a", 2)
	for i := range topics {
		appendN(t, l, "lossy/"+strconv.Itoa(i), 2)
	}
	search := func(between func(), patterns ...string) (misses bool, steps int) {
		x := keep.SearchFor(parse(t, patterns...), 0, 0)
		for {
			steps++
			most := keep.SearchItems
			l.mu.RLock()
			misses, known := l.misses(&x, &most)
			l.mu.RUnlock()
			if known {
				return misses, steps
			}
			between()
		}
	}
	nothing := func() {}
	for pattern, want := range map[string]bool{"none/*": false, "last/*": true} {
		if misses, steps := search(nothing, pattern); misses != want || steps < 3 {
			t.Errorf("%s: %v in %d steps", pattern, misses, steps)
		}
	}
	if misses, steps := search(func() { appendN(t, l, "new/x", 2) }, "new/*"); !misses || steps > 2 {
		t.Errorf("what is lost meanwhile: %v in %d steps", misses, steps)
	}
	n := 0
	if misses, _ := search(func() { n++; appendN(t, l, fmt.Sprint("lossy/", n), 1) }, "none/*"); misses {
		t.Error("a loss of nothing")
	}
	// A page in the middle does not search to the end to say what was told.
	interests := []topic.Interest{{Patterns: parse(t, "lossy/*"), After: topic.Cursor{ID: l.id(0), Told: l.clock}}}
	page, err := l.Read(t.Context(), interests, topic.Limit{Events: 1})
	if err != nil || len(page.Gaps) > 0 || !page.More || page.Cursor.Told != l.clock {
		t.Errorf("page %+v, %v", page, err)
	}
	check(t, l)
}

// The entries of a rule's age are found, however many others lie between.
func TestAgesInSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, &Options{Rules: rules(t, topic.Rule{Pattern: parse(t, "short/*")[0], RetainAge: time.Second})})
		appendN(t, l, "short/a", 1)
		appendN(t, l, "a", 2*keep.SearchItems)
		appendN(t, l, "short/b", 1)
		time.Sleep(time.Second)
		if page, err := l.Newest(t.Context(), parse(t, "short/*"), topic.Limit{Events: 2}); err != nil || len(page.Entries) > 0 {
			t.Errorf("%d entries over age, %v", len(page.Entries), err)
		}
		appendN(t, l, "short/c", 1)
		if got := l.ages[1].Front; got != l.end-1 {
			t.Errorf("the search would begin at %d of %d", got, l.end)
		}
		check(t, l)
	})
}

// What is kept beside topics whose events are superseded by type goes with
// them.
func TestSupersededLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, &Options{RetainEvents: 3, RetainAge: time.Hour, Rules: rules(t, topic.Rule{Pattern: parse(t, "a/*")[0], Slow: topic.SlowConflateTypes})})
		for i := range 100 {
			for _, name := range []string{"a/x", "a/y"} {
				draft := topic.Draft{Type: strconv.Itoa(i % 7), Data: []byte("x")}
				if _, err := l.Append(t.Context(), name, []topic.Draft{draft}, topic.Key{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if len(l.newestOfType) != 6 || len(l.lostBeside) != 2 {
			t.Errorf("%d newest of a type, %d losses", len(l.newestOfType), len(l.lostBeside))
		}
		check(t, l)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if topics, _, _ := held(l); topics+len(l.newestOfType)+len(l.lostBeside) != 0 || items(&l.losses) > 1024 {
			t.Errorf("left: %d topics, %d newest of a type, %d losses, %d in their order", topics, len(l.newestOfType), len(l.lostBeside), items(&l.losses))
		}
	})
}
