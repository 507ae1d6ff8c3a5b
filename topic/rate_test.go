package topic_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// The rate is of the last 10 s; what lies in the window of time before counts
// by its part. Bubbles begin at midnight: with a window.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := openHub(t, &memlog.Options{Rules: rules(t, topic.Rule{Pattern: pattern(t, "game"), RetainEvents: new(0)})}, nil)
		check := func(name string, want float64) {
			t.Helper()
			if got := hub.Rate(name); got < want-1e-9 || got > want+1e-9 {
				t.Errorf("%s after %v: %v, want %v", name, time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)), got, want)
			}
		}
		check("a", 0)
		for range 50 {
			publish(t, hub, "a", "1", "2")
			publish(t, hub, "game", "3")
		}
		end(t, hub, "ended")
		check("a", 10)
		check("game", 5)
		check("ended", 0)
		check("b", 0)
		time.Sleep(10*time.Second - time.Nanosecond)
		check("a", 10)
		time.Sleep(time.Nanosecond)
		check("a", 10)
		time.Sleep(4 * time.Second)
		check("a", 6)
		publish(t, hub, "a", "4")
		check("a", 6.1)
		time.Sleep(6 * time.Second)
		check("a", 0.1)
		check("game", 0)
		time.Sleep(time.Hour)
		check("a", 0)
		publish(t, hub, "a", "5")
		check("a", 0.1)
	})
}
