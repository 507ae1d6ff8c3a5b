package poller_test

import (
	"io"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/poller"
)

// The loop wakes up by itself for a limit, and not before its time. (That it
// is not late is judged with a clock of its own: see TestIdle.)
func TestIdleWakes(t *testing.T) {
	p := newPoller(t, 1)
	over, ended := closing()
	c, client := adopt(t, p, &hooks{closed: over}, nil)
	start := time.Now()
	c.SetIdle(2 * poller.Resolution)
	if err := <-ended; err != poller.ErrIdle {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 2*poller.Resolution {
		t.Errorf("ended after %v", d)
	}
	if _, err := client.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("the peer sees %v, want a reset", err)
	}
}
