package poller

import "time"

// watch looks at the connections whose tick has come, and limits the next wait
// to the tick of the next ones.
func (l *loop) watch() {
	if l.lookAt != 0 && l.lookAt <= l.now {
		for c := l.wheel.take(l.now); c != nil; c = l.wheel.take(l.now) {
			l.judge(c)
		}
		l.lookAt = l.wheel.soonest()
	}
	if l.waitFor == l.lookAt {
		return
	}
	l.waitFor = l.lookAt
	var limit time.Time
	if l.waitFor != 0 {
		limit = l.poller.timeOf(l.waitFor)
	}
	_ = l.epoll.SetReadDeadline(limit) // newLoop has seen that it can be set
}

// judge ends a connection that is over one of its limits, else lets it go on.
func (l *loop) judge(c *Conn) {
	stalled, closeBy, idle := c.timeLimits()
	switch {
	case reached(closeBy, l.now):
		l.release(c)
	case reached(stalled, l.now):
		l.fail(c, ErrStalled)
		l.settle(c)
	case reached(idle, l.now):
		l.fail(c, ErrIdle)
		l.settle(c)
	case reached(c.alarm, l.now):
		c.alarm = 0
		l.cork(c, false)
		c.call(func() { c.handler.Alarm(c) })
		l.settle(c)
		l.arm(c)
	default:
		l.arm(c)
	}
}

func reached(limit, now uint32) bool { return limit != 0 && limit <= now }

// arm files a connection under the first of its limits. It may stand under an
// earlier tick: then it is looked at for nothing.
func (l *loop) arm(c *Conn) {
	if c.slot == 0 {
		return
	}
	stalled, closeBy, idle := c.timeLimits()
	var due uint32
	for _, limit := range [...]uint32{stalled, closeBy, idle, c.alarm} {
		if limit != 0 && (due == 0 || limit < due) {
			due = limit
		}
	}
	if due != 0 && (c.due == 0 || due < c.due) {
		l.wheel.put(c, max(due, l.now+1), l.now)
		if l.lookAt == 0 || c.due < l.lookAt {
			l.lookAt = c.due
		}
	}
}

// timeLimits gives the ticks at which the peer will have been too slow or too
// silent, or 0. Who still has to read is not asked to speak.
func (c *Conn) timeLimits() (stalled, closeBy, idle uint32) {
	timeout := c.limits.writeTimeout()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stalled != 0 && timeout > 0 {
		stalled = c.stalled + ticks(timeout)
	}
	if c.stalled == 0 && !c.paused && c.idle != 0 {
		idle = c.received + c.idle
	}
	if c.ending != nil {
		closeBy = c.ending.by
	}
	return stalled, closeBy, idle
}
