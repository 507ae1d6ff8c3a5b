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
// the subscriber's sink, and nobody changes its subscriptions' cursors, until
// it is posted back to the shard.
type catchUp struct {
	sub           *Subscriber
	subscriptions []*subscription // as they were when it began
	interests     []Interest      // theirs; the read moves the cursors forward
	openings      [][]byte        // of those that take effect with it
	greet         bool            // $ping, if there is no $gap, as the first signal
	ping          bool            // a heartbeat that is due

	// The result.
	end  ID   // the log was read up to here
	more bool // and not to its end
	done bool // what Send said
	last bool // the last batch was sent
}

func newCatchUp(sub *Subscriber) *catchUp {
	c := &catchUp{sub: sub, greet: sub.opts.Signals && !sub.greeted, ping: sub.pingOwed}
	sub.pingOwed = false
	for _, sn := range sub.subscriptions {
		in := Interest{Patterns: sn.patterns, After: sn.cursor}
		if sn.ended.Seq != 0 {
			in.After = Cursor{ID: ID{Epoch: sn.ended.Epoch, Seq: sn.ended.Seq - 1}}
		}
		if sn.opening != nil {
			c.openings = append(c.openings, sn.opening)
			sn.opening = nil
		}
		c.subscriptions = append(c.subscriptions, sn)
		c.interests = append(c.interests, in)
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
			if ctx.Err() != nil {
				err = ErrClosed // by the hub
			}
			c.send(Batch{End: err})
			return
		}
	}
	c.end, c.more = page.Cursor.ID, page.More
	batch := Batch{Chunks: c.openings}
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
		in, sn := &c.interests[g.Interest], c.subscriptions[g.Interest]
		asked := sn.asked
		if asked == "" {
			asked = in.After.String()
		}
		name := ""
		if opts.Named {
			name = sn.name
		}
		signal(gapSignal(g, asked, name))
		in.After = g.Cursor
	}
	if c.greet && len(page.Gaps) == 0 || c.ping {
		signal(pingSignal(c.common(), c.sub.hub.pingData))
	}
	for i := range c.interests {
		in := &c.interests[i]
		switch {
		case in.After.Seq > page.Cursor.Seq:
		case page.More:
			in.After = in.After.Advance(page.Cursor.ID)
		default:
			in.After = Cursor{ID: page.Cursor.ID} // the end: no loss lies after it
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
	for i, sn := range c.subscriptions {
		cursor := c.interests[i].After
		if sn.ended.Seq != 0 {
			cursor = sn.cursor
		}
		if i > 0 && cursor != at {
			return Cursor{}
		}
		at = cursor
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
