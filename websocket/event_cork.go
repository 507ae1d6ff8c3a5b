package websocket

import (
	"sync"
	"sync/atomic"
	"time"
)

// eventCork keeps what is written to a connection while a goroutine handles messages of it that have
// come together, so that the answers leave together, too. On a loop, the poller does that.
//
// A message that has none after it is answered at once, and what was kept goes with the answer.
type eventCork struct {
	conn  atomic.Pointer[EventConn] // that has borrowed it
	timer *time.Timer               // pours out what is kept for keptFor

	// Guarded by the connection's mu, but ahead is changed by who reads only.
	ahead bool // there are messages to be handled after this one
	n     int  // bytes kept
	buf   buffer
}

// keptFor bounds how long an answer waits because the handler of a later message blocks.
const keptFor = time.Millisecond

var eventCorks = sync.Pool{New: func() any {
	k := new(eventCork)
	k.timer = time.AfterFunc(time.Hour, k.late)
	k.timer.Stop()
	return k
}}

// late is called by the timer: perhaps in vain, or for the next who has borrowed it. Then that one's
// answers leave a little earlier.
func (k *eventCork) late() {
	c := k.conn.Load()
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cork == k {
		_ = c.pourOut() // an error shows in the end of the connection
	}
}

// corkIf is called by who reads, before each message: is there more after it?
func (c *EventConn) corkIf(ahead bool) {
	if k := c.cork; k == nil && !ahead || k != nil && k.ahead == ahead {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cork == nil {
		c.cork = eventCorks.Get().(*eventCork)
		c.cork.conn.Store(c)
	}
	c.cork.ahead = ahead
}

// uncork is called by who reads, when he has handled everything.
func (c *EventConn) uncork() {
	k := c.cork
	if k == nil {
		return
	}
	c.mu.Lock()
	_ = c.pourOut() // as above
	c.cork = nil
	c.mu.Unlock()
	k.ahead = false
	k.conn.Store(nil)
	eventCorks.Put(k)
}

// keeps reports whether frames are kept. The caller holds mu, as for pourOut.
func (c *EventConn) keeps(frames [][]byte) bool {
	k := c.cork
	if k == nil || !k.ahead && k.n == 0 || c.behind || k.n+sizeOf(frames) > len(k.buf) {
		return false
	}
	if k.n == 0 {
		k.timer.Reset(keptFor)
	}
	for _, frame := range frames {
		k.n += copy(k.buf[k.n:], frame)
	}
	return true
}

// pourOut sends what is kept.
func (c *EventConn) pourOut() error {
	k := c.cork
	if k == nil || k.n == 0 {
		return nil
	}
	k.timer.Stop()
	kept := k.buf[:k.n]
	k.n = 0
	return c.sendNow(true, kept)
}
