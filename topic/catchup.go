package topic

import (
	"context"
	"sync"
)

const (
	catchUpEvents = 256
	catchUpBytes  = 64 << 10
)

// catchUp is one turn of reading the log for a subscriber that lags. It owns
// the subscriber's sink until it is posted back to the shard.
type catchUp struct {
	sub           *Subscriber
	subscriptions []*subscription
	interests     []Interest // the cursors; moved forward by the read
	asked         []string
	ended         []ID
	greet         bool

	// The result.
	end  ID   // the log was read up to here
	more bool // and not to its end
	done bool // what Send said
	last bool // the last batch was sent
}

func newCatchUp(sub *Subscriber) *catchUp {
	c := &catchUp{sub: sub, greet: sub.opts.Signals && !sub.greeted || sub.pingOwed}
	sub.pingOwed = false
	for _, sn := range sub.subscriptions {
		c.subscriptions = append(c.subscriptions, sn)
		c.interests = append(c.interests, Interest{Patterns: sn.patterns, After: sn.cursor})
		c.asked = append(c.asked, sn.asked)
		c.ended = append(c.ended, sn.ended)
	}
	return c
}

// run reads, encodes and sends one turn.
func (c *catchUp) run(ctx context.Context, log Log) {
	opts := &c.sub.opts
	var page Page
	if len(c.interests) > 0 { // else all were unsubscribed meanwhile
		var err error
		page, err = log.Read(ctx, c.interests, Limit{Events: catchUpEvents, Bytes: catchUpBytes})
		if err != nil {
			c.send(Batch{End: err})
			return
		}
	}
	c.end, c.more = page.Cursor.ID, page.More
	var batch Batch
	signal := func(s Signal) {
		if opts.Form == nil {
			return
		}
		if b := opts.Form.AppendSignal(nil, s); len(b) > 0 {
			batch.Chunks = append(batch.Chunks, b)
		}
	}
	for _, g := range page.Gaps {
		if opts.EndAtGap {
			c.send(Batch{End: &GapError{g.Oldest}})
			return
		}
		in := &c.interests[g.Interest]
		asked := c.asked[g.Interest]
		if asked == "" {
			asked = in.After.String()
		}
		name := ""
		if opts.Named {
			name = c.subscriptions[g.Interest].name
		}
		signal(gapSignal(g, asked, name))
		in.After = g.Cursor
		c.greet = false
	}
	if c.greet && opts.Signals {
		signal(pingSignal(c.common(), c.sub.hub.pingData))
	}
	for i := range c.interests {
		if in := &c.interests[i]; in.After.Seq < page.Cursor.Seq {
			in.After = in.After.Advance(page.Cursor.ID)
		}
	}
	for _, e := range page.Entries {
		if opts.Form != nil {
			batch.Chunks = append(batch.Chunks, e.Encode(opts.Form))
		}
		if e.IsEnd() && opts.EndWithTopic {
			batch.End = ErrEnded
		}
	}
	for i, end := range c.ended {
		if end.Seq == 0 {
			continue
		}
		topic := c.interests[i].Patterns[0].String()
		signal(endSignal(topic, c.interests[i].After.ID))
		if opts.EndWithTopic {
			batch.End = ErrEnded
		}
	}
	somethingToTell := opts.Form == nil && (len(page.Entries) > 0 || len(page.Gaps) > 0)
	if len(batch.Chunks) == 0 && batch.End == nil && !somethingToTell {
		c.done = true
		return
	}
	c.send(batch)
}

// common returns the cursor that resumes all subscriptions, if there is one.
func (c *catchUp) common() Cursor {
	var at Cursor
	for i, in := range c.interests {
		if i > 0 && in.After != at {
			return Cursor{}
		}
		at = in.After
	}
	return at
}

func (c *catchUp) send(b Batch) {
	c.done = c.sub.sink.Send(b)
	c.last = b.End != nil
}

// catchUps is the queue of subscribers that wait for a worker. A subscriber
// stands in it at most once, so it is bounded by their number. One turn each,
// in order of arrival: nobody starves.
type catchUps struct {
	mu      sync.Mutex
	filled  sync.Cond
	waiting []*catchUp // guarded by mu
	closed  bool       // guarded by mu
}

func (q *catchUps) put(c *catchUp) {
	q.mu.Lock()
	q.waiting = append(q.waiting, c)
	q.mu.Unlock()
	q.filled.Signal()
}

// take waits for the next one; nil once the queue is closed.
func (q *catchUps) take() *catchUp {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) == 0 && !q.closed {
		q.filled.Wait()
	}
	if q.closed {
		return nil
	}
	c := q.waiting[0]
	q.waiting[0] = nil
	q.waiting = q.waiting[1:]
	return c
}

func (q *catchUps) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.filled.Broadcast()
}

// work serves the queue. It ends when the queue is closed. Joined by Hub.Close.
func (h *Hub) work(ctx context.Context) {
	for c := h.catchUps.take(); c != nil; c = h.catchUps.take() {
		c.run(ctx, h.log)
		c.sub.shard.post(command{kind: cmdRead, sub: c.sub, read: c})
	}
}
