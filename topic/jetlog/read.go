package jetlog

import (
	"context"
	"slices"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
	"github.com/duplexhq/duplex/topic/jetlog/internal/index"
)

// pageBytes bounds a page, as keep.PageEntries does.
const pageBytes = 64 << 20

// Read returns a page. A limit that is not positive is none; a page never has
// more than 10,000 entries or 64 MiB. What is not in memory is read from the
// disk.
func (l *Log) Read(ctx context.Context, interests []topic.Interest, limit topic.Limit) (topic.Page, error) {
	return l.loadPage(ctx, func() (topic.Page, []ref, error) { return l.choose(ctx, interests, limit) })
}

// loadPage loads the entries of a page, which is chosen again if they are lost
// meanwhile.
func (l *Log) loadPage(ctx context.Context, choose func() (topic.Page, []ref, error)) (topic.Page, error) {
	for {
		page, refs, err := choose()
		if err != nil {
			return topic.Page{}, err
		}
		if page.Entries, err = l.load(ctx, refs); err == nil {
			return page, nil
		}
		if err := l.unreadable(ctx, err); err != nil {
			return topic.Page{}, err
		}
	}
}

// choose finds out what is in a page.
func (l *Log) choose(ctx context.Context, interests []topic.Interest, limit topic.Limit) (topic.Page, []ref, error) {
	var few [4]keep.Reading
	readings := few[:0]
	for _, in := range interests {
		known, err := l.Knows(ctx, in.After)
		if err != nil {
			return topic.Page{}, nil, err
		}
		readings = append(readings, keep.NewReading(in, known))
	}
	for {
		if err := l.rlock(); err != nil {
			return topic.Page{}, nil, err
		}
		page, refs, found := l.page(readings, limit)
		l.mu.RUnlock()
		if found {
			return page, refs, nil
		}
		if ctx.Err() != nil {
			return topic.Page{}, nil, context.Cause(ctx)
		}
	}
}

// page makes the page, unless it would take too long to find where the gaps
// end; then the readings know how far it came.
func (l *Log) page(readings []keep.Reading, limit topic.Limit) (page topic.Page, refs []ref, found bool) {
	x := l.index
	most := keep.SearchItems
	for i := range readings {
		r := &readings[i]
		if r.Known {
			missed, known := x.Misses(&r.Losing, &most)
			if !known {
				return topic.Page{}, nil, false
			}
			if !missed {
				continue
			}
		}
		oldest, found := x.First(r, &most)
		if !found {
			return topic.Page{}, nil, false
		}
		seq, told := x.Before(oldest, r.Patterns)
		gap := topic.Gap{Interest: i, Cursor: topic.Cursor{ID: l.id(seq), Told: told}}
		if oldest != 0 {
			gap.Oldest = l.id(oldest)
		}
		page.Gaps = append(page.Gaps, gap)
	}
	limit = keep.Page(limit)
	limit.Bytes = min(limit.Bytes, pageBytes)

	s := choice{log: l, limit: limit}
	if keep.AnyWild(readings) {
		s.search(readings)
	} else {
		s.merge(readings)
	}
	page.More = s.more
	page.Cursor.ID = l.id(s.seq)
	if page.More { // else nothing lies after it, also no loss
		if slices.ContainsFunc(readings, func(r keep.Reading) bool { return x.MayMiss(r.Patterns, s.seq) }) {
			page.Cursor.Told = x.Clock
		}
	}
	return page, s.refs, true
}

// choice is what a page will hold, up to seq.
type choice struct {
	log   *Log
	limit topic.Limit
	refs  []ref
	bytes int
	seq   uint64
	more  bool
}

// add takes one more entry, unless the page is full.
func (c *choice) add(r ref) bool {
	if c.bytes += r.bytes(); len(c.refs) > 0 && (len(c.refs) == c.limit.Events || c.bytes > c.limit.Bytes) {
		c.more = true
		return false
	}
	c.refs = append(c.refs, r)
	return true
}

// merge takes the entries of readings by name from their topics.
func (c *choice) merge(readings []keep.Reading) {
	x := c.log.index
	var m keep.Merge[*index.Topic]
	for _, r := range readings {
		for _, p := range r.Patterns {
			if t := x.Topic(p.String()); t != nil {
				m.Add(t, t.After(r.From))
			}
		}
	}
	for t, i := range m.All() {
		if !c.add(c.log.ref(t.Seq(i), t)) {
			return
		}
		c.seq = t.Seq(i)
	}
	c.seq = x.End
}

// search takes the entries of readings from the order of the log.
func (c *choice) search(readings []keep.Reading) {
	x := c.log.index
	selection, from := keep.Select(readings, x.End, func(name string) (*index.Topic, bool) {
		t := x.Topic(name)
		return t, t != nil
	})
	c.seq = from
	for it := range x.Order.After(from) {
		if selection.Work >= keep.SearchItems {
			c.more = true
			return
		}
		if selection.Work++; it.Live() {
			t := x.TopicOf(it)
			if selection.Has(t, t.Name(), it.Seq) && !c.add(c.log.refOf(it)) {
				return
			}
		}
		c.seq = it.Seq
	}
	c.seq = x.End
}

// Newest returns the newest events of the patterns. Its cursor is the end of
// the log when it was called: what comes meanwhile is not in the page.
func (l *Log) Newest(ctx context.Context, patterns []topic.Pattern, limit topic.Limit) (topic.Page, error) {
	return l.loadPage(ctx, func() (topic.Page, []ref, error) { return l.chooseNewest(ctx, patterns, limit) })
}

func (l *Log) chooseNewest(ctx context.Context, patterns []topic.Pattern, limit topic.Limit) (page topic.Page, refs []ref, err error) {
	if err := l.rlock(); err != nil {
		return topic.Page{}, nil, err
	}
	x := l.index
	page.Cursor.ID = l.id(x.End)
	limit, bytes := keep.Page(limit), 0
	limit.Bytes = min(limit.Bytes, pageBytes)
	// add takes an event, and reports whether there is room for more.
	add := func(r ref) bool {
		if r.isEnd() {
			return true
		}
		if bytes += r.bytes(); bytes <= limit.Bytes || len(refs) == 0 {
			refs = append(refs, r)
		}
		return bytes < limit.Bytes && len(refs) < limit.Events
	}
	if !keep.Wild(patterns) {
		m := keep.Merge[*index.Topic]{Back: true}
		for _, p := range patterns {
			if t := x.Topic(p.String()); t != nil {
				m.Add(t, t.Len()-1)
			}
		}
		for t, i := range m.All() {
			if !add(l.ref(t.Seq(i), t)) {
				break
			}
		}
		l.mu.RUnlock()
		slices.Reverse(refs)
		return page, refs, nil
	}
	for seq := x.End + 1; ; {
		var selection keep.Selection[*index.Topic]
		selection.AddPatterns(patterns)
		over := true
		for it := range x.Order.Before(seq) {
			if over = selection.Work < keep.SearchItems; !over {
				break
			}
			if selection.Work++; it.Live() {
				t := x.TopicOf(it)
				if selection.Has(t, t.Name(), it.Seq) && !add(l.refOf(it)) {
					break
				}
			}
			seq = it.Seq
		}
		l.mu.RUnlock()
		if over {
			slices.Reverse(refs)
			return page, refs, nil
		}
		if ctx.Err() != nil {
			return topic.Page{}, nil, context.Cause(ctx)
		}
		if err := l.rlock(); err != nil {
			return topic.Page{}, nil, err
		}
	}
}

// Earliest returns the cursor that all that is left of the patterns lies after.
func (l *Log) Earliest(ctx context.Context, patterns []topic.Pattern) (topic.Cursor, error) {
	r := keep.NewReading(topic.Interest{Patterns: patterns}, false)
	for {
		if err := l.rlock(); err != nil {
			return topic.Cursor{}, err
		}
		most := keep.SearchItems
		first, found := l.index.First(&r, &most)
		seq, told := l.index.Before(first, patterns)
		c := topic.Cursor{ID: l.id(seq), Told: told}
		l.mu.RUnlock()
		if found {
			return c, nil
		}
		if ctx.Err() != nil {
			return topic.Cursor{}, context.Cause(ctx)
		}
	}
}
