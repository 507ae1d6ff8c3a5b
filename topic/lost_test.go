package topic_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// A Start that has lost what the log has not has a gap "in any case", which is
// told once and where the cursor is.
func TestLostStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, &memlog.Options{RetainEvents: 2}, nil)
		one := publish(t, hub, "a", "1")
		publish(t, hub, "b", "2")
		lost := func(start topic.Start) topic.Start {
			start.Lost = true
			return start
		}
		open := func(opts topic.SubscribeOptions, selections ...topic.Selection) *recorder {
			r := new(recorder)
			opts.Form = script{}
			sub := hub.Subscribe(r, opts, selections...)
			t.Cleanup(sub.Close)
			synctest.Wait()
			return r
		}
		signals := topic.SubscribeOptions{Signals: true}
		after, now := after(t, hub, one.String()), hub.Now()
		r := open(signals, selection(t, lost(after), "b"))
		want(t, r, fmt.Sprintf(`$gap@1{"after":%q,"oldest":%q}`, one, now.Cursor), "b=2")
		other := open(signals, selection(t, lost(after), "c"), selection(t, after, "b"))
		want(t, other, fmt.Sprintf(`$gap@1{"after":%q}`, one), "b=2")
		atEnd := open(signals, selection(t, lost(now), "b"))
		want(t, atEnd, fmt.Sprintf(`$gap@2{"after":%q}`, now.Cursor))
		ended := open(topic.SubscribeOptions{EndAtGap: true}, selection(t, lost(after), "b"))
		if gap, ok := errors.AsType[*topic.GapError](ended.end); !ok || gap.Oldest != now.Cursor.ID || len(ended.lines) > 0 {
			t.Errorf("%v, %q", ended.end, ended.lines)
		}

		publish(t, hub, "b", "3")
		synctest.Wait()
		for _, r := range []*recorder{r, other, atEnd} {
			want(t, r, "b=3")
		}
		// One gap is enough.
		publish(t, hub, "b", "4")
		synctest.Wait()
		last := open(signals, selection(t, lost(after), "b"))
		if got := last.take(); len(got) != 3 || got[2] != "b=4" {
			t.Errorf("%q, want one $gap and two events", got)
		}
	})
}
