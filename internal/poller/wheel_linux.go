package poller

// A wheel holds the connections of a loop that have a time limit, by the tick
// at which to look at them. What moves a limit into the future, such as every
// byte that arrives does, leaves the connection where it is: when its tick
// comes, the loop looks and puts it further on. So a limit costs a list
// operation once in its duration.
type wheel struct {
	slots *[]*Conn    // of the loop
	lists [span]int32 // the slot of the first connection; 0 if there is none
	at    uint32      // all before it have been looked at
	count int
}

// span is how many ticks the wheel reaches: 51 s. What is due later is looked
// at then, and put further on.
const span = 512

// put files c under a tick that is still to come.
func (w *wheel) put(c *Conn, due, now uint32) {
	if w.count == 0 {
		w.at = max(w.at, now)
	}
	due = min(max(due, w.at), w.at+span-1)
	if c.due == due {
		return
	}
	w.remove(c)
	head := &w.lists[due%span]
	c.due, c.next = due, *head
	if *head != 0 {
		(*w.slots)[*head].prev = c.slot
	}
	*head = c.slot
	w.count++
}

func (w *wheel) remove(c *Conn) {
	if c.due == 0 {
		return
	}
	if c.prev != 0 {
		(*w.slots)[c.prev].next = c.next
	} else {
		w.lists[c.due%span] = c.next
	}
	if c.next != 0 {
		(*w.slots)[c.next].prev = c.prev
	}
	c.prev, c.next, c.due = 0, 0, 0
	w.count--
}

// take removes and gives a connection whose tick is now or earlier, or nil.
func (w *wheel) take(now uint32) *Conn {
	for ; w.at <= now; w.at++ {
		if w.count == 0 {
			w.at = now + 1
			break
		}
		if slot := w.lists[w.at%span]; slot != 0 {
			c := (*w.slots)[slot]
			w.remove(c)
			return c
		}
	}
	return nil
}

// soonest gives the next tick at which there is something to look at, or 0.
func (w *wheel) soonest() uint32 {
	if w.count == 0 {
		return 0
	}
	tick := w.at
	for w.lists[tick%span] == 0 {
		tick++
	}
	return tick
}
