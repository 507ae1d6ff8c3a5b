package jetlog

import (
	"fmt"
	"testing"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
)

// What was in the tail is there again after a start.
func TestWarm(t *testing.T) {
	rules, err := topic.NewRules(topic.Rule{Pattern: pattern1(t, "last/*"), Slow: topic.SlowConflate})
	if err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string]*Options{
		"inside":  {Dir: t.TempDir()},
		"outside": {NATS: newStream(natsServer(t, t.TempDir(), -1))},
	} {
		t.Run(name, func(t *testing.T) {
			opts.Rules, opts.TailBytes = rules, 100*index.Cost(100)
			l := openAt(t, opts)
			for i := range 300 {
				data := fmt.Appendf(nil, "%100d", i)
				_, err := l.Append(t.Context(), fmt.Sprint([]string{"all/", "last/"}[i%2], i%3), []topic.Draft{{Type: "type", Media: "text/x", Data: data}}, topic.Key{})
				if err != nil {
					t.Fatal(err)
				}
			}
			newest := l.End().Seq
			before := make([]*topic.Entry, newest+1)
			for seq := range before {
				before[seq] = l.tail.entry(uint64(seq))
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			again := openAt(t, opts)
			defer again.Close()
			if again.tail.count < 50 { // what a message takes on the disk is more than its data
				t.Errorf("only %d entries", again.tail.count)
			}
			for seq := again.tail.firstAt; seq <= newest; seq++ {
				got, want := again.tail.entry(seq), before[seq]
				if got == nil || want == nil {
					t.Fatalf("entry %d: %v, want %v", seq, got, want)
				}
				if got.ID != want.ID || got.Topic != want.Topic || string(got.Data) != string(want.Data) || got.Type != want.Type ||
					got.Media != want.Media || !got.Time().Equal(want.Time()) || got.Superseded() != want.Superseded() {
					t.Errorf("entry %d: %+v, want %+v", seq, got, want)
				}
			}
			appendText1(t, again, "all/0", "more")
			if again.tail.entry(newest) == nil || again.tail.entry(newest+1) == nil {
				t.Error("it does not go on from there")
			}
		})
	}
}
