package poller_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/poller"
)

// A handler that panics costs its connection, and no other one of its loop.
func TestPanics(t *testing.T) {
	p := newPoller(t, 1)
	var told atomic.Int32
	limits := &poller.Limits{Panicked: func(v any, stack []byte) {
		if v != "handler" || !strings.Contains(string(stack), "TestPanics") {
			t.Errorf("%v at %s", v, stack)
		}
		told.Add(1)
	}}
	_, quiet := adopt(t, p, &hooks{data: echo}, nil)
	for name, h := range map[string]*hooks{
		"data":  {data: func(*poller.Conn, []byte) { panic("handler") }},
		"alarm": {data: func(c *poller.Conn, _ []byte) { c.SetAlarm(time.Millisecond) }, alarm: func(*poller.Conn) { panic("handler") }},
		"do":    {data: func(c *poller.Conn, _ []byte) { c.Do(func() { panic("handler") }) }},
		"after writing": {data: func(c *poller.Conn, p []byte) {
			echo(c, p)
			panic("handler")
		}},
		"resumed": {data: func(c *poller.Conn, p []byte) {
			if len(p) > 1 {
				c.Pause(p[:1])
				c.Resume()
				return
			}
			panic("handler")
		}},
	} {
		over, ended := closing()
		h.closed = over
		before := told.Load()
		_, client := adopt(t, p, h, limits)
		if _, err := client.Write([]byte("xy")); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err == nil || told.Load() != before+1 {
			t.Errorf("%s: %v, told %d times", name, err, told.Load()-before)
		}
		if _, err := quiet.Write([]byte("z")); err != nil {
			t.Fatal(err)
		}
		expect(t, quiet, "z")
	}
}
