package topic_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// replaced is a log in whose place another one comes, as if it had been away.
type replaced struct {
	topic.Log
	watcher func([]*topic.Entry)
}

func (l *replaced) Watch(f func([]*topic.Entry)) topic.ID {
	l.watcher = f
	return l.Log.Watch(f)
}

func (l *replaced) by(log topic.Log) {
	l.Log = log
	log.Watch(l.watcher)
	l.watcher(nil)
}

// What comes after a log was away is read from it: also if it has another epoch,
// and less in it than before.
func TestLogWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, later := memlog.Open(nil), memlog.Open(nil)
		defer before.Close()
		defer later.Close()
		log := &replaced{Log: before}
		hub := topic.NewHub(log, nil)
		defer hub.Close()
		live, slow, elsewhere := &recorder{}, &recorder{}, &recorder{}
		defer hub.Subscribe(live, signals, selection(t, hub.Now(), "a")).Close()
		writing := hub.Subscribe(slow, signals, selection(t, hub.Now(), "a"))
		defer writing.Close()
		defer hub.Subscribe(elsewhere, signals, selection(t, hub.Now(), "b")).Close()
		synctest.Wait()
		slow.hold(true)
		first := publish(t, hub, "a", "1")
		synctest.Wait()
		last := publish(t, hub, "a", "2", "3", "4", "5")
		want(t, live, `$ping@0{"interval":25}`, "a=1", "a=2", "a=3", "a=4", "a=5")
		want(t, slow, `$ping@0{"interval":25}`, "a=1")
		want(t, elsewhere, `$ping@0{"interval":25}`)

		if _, err := later.Append(t.Context(), "a", []topic.Draft{{Data: []byte("new 1")}}, topic.Key{}); err != nil {
			t.Fatal(err)
		}
		live.onSend = func() bool { // while the log is read
			live.onSend = nil
			publish(t, hub, "a", "new 2")
			time.Sleep(time.Millisecond)
			return true
		}
		log.by(later)
		oldest := topic.ID{Epoch: later.End().Epoch, Seq: 1}
		time.Sleep(time.Millisecond)
		want(t, live, fmt.Sprintf(`$gap@0{"after":"%v","oldest":"%v"}`, last, oldest), "a=new 1", "a=new 2")
		slow.hold(false)
		writing.Writable()
		synctest.Wait()
		want(t, slow, fmt.Sprintf(`$gap@0{"after":"%v","oldest":"%v"}`, first, oldest), "a=new 1", "a=new 2")
		synctest.Wait()
		if got := elsewhere.take(); len(got) != 1 || !strings.HasPrefix(got[0], "$gap@") || !strings.HasSuffix(got[0], fmt.Sprintf(`{"after":"%v"}`, last)) {
			t.Errorf("who reads what nobody publishes got %q", got) // wherever the log was when he read it
		}
		publish(t, hub, "a", "new 3")
		publish(t, hub, "b", "new 4")
		want(t, live, "a=new 3")
		want(t, slow, "a=new 3")
		want(t, elsewhere, "b=new 4")
	})
}
