package topic_test

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/duplexhq/duplex/topic"
)

// A line is a connection that sinks share.
type line struct {
	mu      sync.Mutex // guards what follows
	given   int
	due     bool
	flushes []int // how much each has sent
}

func (l *line) Send(b topic.Batch) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.given++
	if b.Later != nil && !l.due {
		l.due = true
		b.Later(l)
	}
	return true
}

func (l *line) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushes = append(l.flushes, l.given)
	l.given, l.due = 0, false
}

// What sinks put off is done when everybody was given what there is, and for
// many lines before that.
func TestLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, nil, nil)
		shared := new(line)
		lines := []*line{shared}
		for range 20 {
			s := hub.Subscribe(shared, topic.SubscribeOptions{Form: script{}}, selection(t, hub.Now(), "a"))
			defer s.Close()
		}
		for range 1000 {
			l := new(line)
			lines = append(lines, l)
			s := hub.Subscribe(l, topic.SubscribeOptions{Form: script{}}, selection(t, hub.Now(), "a"))
			defer s.Close()
		}
		synctest.Wait()
		publish(t, hub, "a", "hello")
		synctest.Wait()
		sent := 0
		for _, l := range lines {
			if l.due || l.given > 0 {
				t.Fatal("something was not flushed")
			}
			for _, n := range l.flushes {
				sent += n
			}
		}
		if sent != 1020 {
			t.Errorf("%d were sent", sent)
		}
		// A shard flushes it once, unless there were too many lines.
		if n := len(shared.flushes); n > 10 {
			t.Errorf("%d flushes for 20 sinks: %v", n, shared.flushes)
		}
	})
}
