package topic

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
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
	dropped       []dropped       // by each; nil if nothing was
	visited       ID              // the shard's position, if only the tail has what lacks; else zero
	head          [][]byte        // what the batch begins with: openings of those that take effect with it, then signals
	greet         bool            // $ping, if there is no $gap, as the first signal
	ping          bool            // a heartbeat that is due

	// The result.
	end    ID    // the log was read up to here
	more   bool  // and not to its end
	done   bool  // what Send said
	last   bool  // the last batch was sent
	data   int64 // bytes of data that were read
	newest int64 // when the log took the last of it; Unix nanoseconds
	sent   time.Time
	pause  time.Duration // a rest that is due after it
	counts Stats
	broken error // the form, by a signal
}

func newCatchUp(sub *Subscriber) *catchUp {
	c := &catchUp{sub: sub, greet: sub.opts.Signals && !sub.greeted, ping: sub.pingOwed}
	if !sub.again && !sub.missedKept {
		c.visited = sub.shard.end
	}
	sub.pingOwed = false
	if len(sub.openings) > 0 {
		c.head, sub.openings = sub.openings, nil
	}
	for i, sn := range sub.subscriptions {
		in := Interest{Patterns: sn.patterns, After: sn.cursor}
		if sn.ended.Seq != 0 {
			in.After = Cursor{ID: ID{Epoch: sn.ended.Epoch, Seq: sn.ended.Seq - 1}}
		}
		if sn.dropped != nil {
			if sn.dropped.untold() && sn.dropped.from.Epoch == 0 {
				sn.dropped.from = sn.cursor
			}
			if c.dropped == nil {
				c.dropped = make([]dropped, len(sub.subscriptions))
			}
			c.dropped[i] = *sn.dropped
		}
		if sn.opening != nil {
			c.head = append(c.head, sn.opening)
			sn.opening = nil
		}
		c.subscriptions = append(c.subscriptions, sn)
		c.interests = append(c.interests, in)
	}
	return c
}

// run reads, encodes and sends one turn.
func (c *catchUp) run(ctx context.Context, log Log) {
	page, err := c.read(ctx, log)
	if err != nil {
		if ctx.Err() != nil {
			err = ErrClosed // by the hub
		}
		c.send(Batch{End: err})
		return
	}
	cut := c.cutToTail(&page)
	c.end, c.more = page.Cursor.ID, page.More
	entries, end := c.tellGaps(page)
	if end != nil {
		c.send(Batch{End: end})
		return
	}
	if c.greet && !c.told() || c.ping {
		c.signal(pingSignal(c.common(), c.sub.shard.hub.pingData))
	}
	c.advance(page.Cursor, !page.More && !cut)
	c.give(entries, c.sub.opts.Form == nil && somethingToRead(page, entries, cut))
}

// somethingToRead reports whether who has no form is to read the log, which says
// more than the entries of a page do, but has no events of ephemeral topics.
func somethingToRead(page Page, entries []ruled, cut bool) bool {
	kept := 0
	for _, e := range entries {
		if !e.passing() {
			kept++
		}
	}
	whole := kept == len(page.Entries) && !page.More && !cut
	return len(page.Gaps) > 0 || len(page.Entries) > 0 && (kept == len(entries) || !whole)
}

// tellGaps begins the batch with the gaps of a page, and returns what of it is to
// be given after them. If there is an end, it is all that is sent.
func (c *catchUp) tellGaps(page Page) (entries []ruled, end error) {
	chosen := c.withPassed(c.choose(page), c.end)
	for _, g := range append(page.Gaps, c.lost(page)...) {
		g = c.beforeChosen(g, chosen)
		asked := c.subscriptions[g.Interest].asked
		if asked == "" {
			asked = c.interests[g.Interest].After.String()
		}
		if end = c.tell(g, asked); end != nil {
			return nil, end
		}
	}
	entries, gaps := c.drop(chosen, page.More)
	for _, g := range gaps {
		if end = c.tell(g, c.dropped[g.Interest].from.String()); end != nil {
			return nil, end
		}
	}
	if c.told() {
		entries = slices.DeleteFunc(entries, func(e ruled) bool { return e.passing() && !c.wanted(e) })
	}
	return entries, nil
}

// tell tells of one gap, or ends a subscriber that is not to be told.
func (c *catchUp) tell(g Gap, asked string) (end error) {
	c.counts.Gaps++
	if d := c.droppedOf(g.Interest); d.untold() && d.to > g.Cursor.Seq {
		g.To = ID{Epoch: c.end.Epoch, Seq: d.to}
	}
	if c.sub.opts.EndAtGap {
		return &GapError{g.Oldest}
	}
	c.signal(gapSignal(g, asked, c.subscriptions[g.Interest].called()))
	c.interests[g.Interest].After = g.Cursor
	if c.dropped != nil {
		c.dropped[g.Interest].tell()
	}
	return nil
}

// told reports whether the batch tells of a gap.
func (c *catchUp) told() bool { return c.counts.Gaps > 0 }

// signal adds a signal to what the batch begins with.
func (c *catchUp) signal(s Signal) {
	form := c.sub.opts.Form
	if form == nil {
		return
	}
	b, err := encodeSignal(form, s)
	if c.broken = cmp.Or(c.broken, err); len(b) > 0 {
		c.head = append(c.head, b)
	}
}

// advance moves the cursors forward to where the read has come.
func (c *catchUp) advance(to Cursor, atEnd bool) {
	for i := range c.interests {
		in := &c.interests[i]
		switch {
		case in.After.Seq > to.Seq:
		case atEnd: // no loss lies after it
			in.After = Cursor{ID: to.ID}
		default:
			in.After = in.After.Advance(to.ID)
		}
	}
}

// give sends the entries after what the batch begins with. If there is something
// to read, the entries are not given: a batch without any says so.
func (c *catchUp) give(entries []ruled, somethingToRead bool) {
	opts := &c.sub.opts
	var events list
	if opts.Form != nil {
		events.chunks = make([][]byte, 0, len(entries))
	}
	events.fill(opts.Form, entries)
	events.err = cmp.Or(c.broken, events.err)
	batch := events.batch(opts, nil)
	if events.err != nil {
		c.send(batch)
		return
	}
	if len(c.head) > 0 {
		batch.Chunks = append(c.head, batch.Chunks...)
	}
	if somethingToRead {
		batch.Entries = nil
	}
	c.counts.Delivered, c.counts.Bytes = events.events, events.bytes
	c.pause = events.pause
	if len(batch.Chunks) == 0 && len(batch.Entries) == 0 && batch.End == nil && !somethingToRead {
		c.done = true
		return
	}
	c.send(batch)
}

// read reads what the subscriber lacks of the log.
func (c *catchUp) read(ctx context.Context, log Log) (Page, error) {
	if len(c.interests) == 0 { // all were unsubscribed meanwhile
		return Page{}, nil
	}
	if c.visited.Epoch != 0 {
		return Page{Cursor: Cursor{ID: c.visited}}, nil
	}
	return read(ctx, log, c.interests)
}

// wants reports whether an interest selects an entry, and it lies after its cursor.
func (c *catchUp) wants(i int, e ruled) bool {
	in := &c.interests[i]
	return e.ID.Seq > in.After.Seq && slices.ContainsFunc(in.Patterns, func(p Pattern) bool { return p.Match(e.Topic) })
}

// lost returns the gaps of those who lack more than the log knows of.
func (c *catchUp) lost(page Page) (gaps []Gap) {
	for i, sn := range c.subscriptions {
		if !sn.lost || slices.ContainsFunc(page.Gaps, func(g Gap) bool { return g.Interest == i }) {
			continue
		}
		g := Gap{Interest: i, Cursor: c.interests[i].After}
		first := slices.IndexFunc(page.Entries, func(e *Entry) bool {
			return e.ID.Seq > g.Cursor.Seq && slices.ContainsFunc(sn.patterns, func(p Pattern) bool { return p.Match(e.Topic) })
		})
		if first >= 0 {
			g.Oldest = page.Entries[first].ID
		}
		gaps = append(gaps, g)
	}
	return gaps
}

// beforeChosen has a gap end at the first entry that will be given: what would have
// been the first may be superseded, unless that is in a later page.
func (c *catchUp) beforeChosen(g Gap, chosen []ruled) Gap {
	if c.sub.shard.hub.rules.none() {
		return g
	}
	patterns := c.interests[g.Interest].Patterns
	for _, e := range chosen {
		if e.ID.Seq > g.Cursor.Seq && slices.ContainsFunc(patterns, func(p Pattern) bool { return p.Match(e.Topic) }) {
			if e.ID != g.Oldest {
				g.Oldest, g.Cursor = e.ID, g.Cursor.Advance(ID{Epoch: e.ID.Epoch, Seq: e.ID.Seq - 1})
			}
			break
		}
	}
	return g
}

// choose returns what of a page is not superseded.
func (c *catchUp) choose(page Page) []ruled {
	rules := c.sub.shard.hub.rules
	entries := make([]ruled, len(page.Entries))
	for i, e := range page.Entries {
		if i > 0 && e.Topic == entries[i-1].Topic {
			entries[i] = ruled{e, entries[i-1].rule}
		} else {
			entries[i] = ruled{e, rules.Of(e.Topic)}
		}
		c.data += int64(len(e.Data))
		c.newest = e.nanos
	}
	if rules.none() {
		return entries
	}
	n := len(entries)
	if page.More { // what supersedes an entry may be in a later page
		entries = slices.DeleteFunc(entries, func(e ruled) bool { return e.rule.conflates() && e.Superseded() })
	}
	entries = conflate(entries)
	c.counts.Conflated = uint64(n - len(entries))
	return entries
}

// common returns the cursor that resumes all subscriptions, if there is one.
func (c *catchUp) common() Cursor {
	var at Cursor
	for i, sn := range c.subscriptions {
		cursor := c.interests[i].After
		if sn.ended.Seq != 0 {
			cursor = sn.cursor
		}
		if d := c.droppedOf(i); d.untold() {
			cursor = d.from
		}
		if i > 0 && cursor != at {
			return Cursor{}
		}
		at = cursor
	}
	return at
}

func (c *catchUp) send(b Batch) {
	c.counts.Batches++
	c.done, c.last = deliver(c.sub.sink, b)
	if c.pause > 0 {
		c.sent = time.Now()
	}
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
