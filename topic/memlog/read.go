package memlog

import (
	"context"
	"slices"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// Read returns a page. A limit that is not positive is none; a page never has
// more than 10,000 entries.
func (l *Log) Read(ctx context.Context, interests []topic.Interest, limit topic.Limit) (topic.Page, error) {
	var few [4]keep.Reading
	readings := few[:0]
	for _, in := range interests {
		known, err := l.Knows(ctx, in.After)
		if err != nil {
			return topic.Page{}, err
		}
		readings = append(readings, keep.NewReading(in, known))
	}
	for {
		if err := l.rlock(); err != nil {
			return topic.Page{}, err
		}
		page, found := l.page(readings, limit)
		l.mu.RUnlock()
		if found {
			return page, nil
		}
		if ctx.Err() != nil {
			return topic.Page{}, context.Cause(ctx)
		}
	}
}

// page makes the page, unless it would take too long to find where the gaps
// end; then the readings know how far it came.
func (l *Log) page(readings []keep.Reading, limit topic.Limit) (page topic.Page, found bool) {
	most := keep.SearchItems
	for i := range readings {
		r := &readings[i]
		if r.Known {
			misses, known := l.misses(&r.Losing, &most)
			if !known {
				return topic.Page{}, false
			}
			if !misses {
				continue
			}
		}
		oldest, found := l.first(r, &most)
		if !found {
			return topic.Page{}, false
		}
		page.Gaps = append(page.Gaps, topic.Gap{Interest: i, Oldest: oldest, Cursor: l.before(oldest, r.Patterns)})
	}
	limit = keep.Page(limit)

	var seq uint64
	if keep.AnyWild(readings) {
		page.Entries, seq, page.More = l.search(readings, limit)
	} else {
		page.Entries, seq, page.More = l.merge(readings, limit)
	}
	page.Cursor.ID = l.id(seq)
	if page.More { // else nothing lies after it, also no loss
		if slices.ContainsFunc(readings, func(r keep.Reading) bool { return l.mayMiss(r.Patterns, seq) }) {
			page.Cursor.Told = l.clock
		}
	}
	return page, true
}

// merge takes the entries of readings by name from their topics, up to seq.
func (l *Log) merge(readings []keep.Reading, limit topic.Limit) (entries []*topic.Entry, seq uint64, more bool) {
	var m keep.Merge[*topicLog]
	for _, r := range readings {
		for _, p := range r.Patterns {
			if t := l.topics[p.String()]; t != nil {
				m.Add(t, t.after(r.From))
			}
		}
	}
	bytes := 0
	for t, i := range m.All() {
		e := t.at(i)
		if bytes += len(e.Data); len(entries) > 0 && (len(entries) == limit.Events || bytes > limit.Bytes) {
			return entries, seq, true
		}
		entries = append(entries, e)
		seq = e.ID.Seq
	}
	return entries, l.end, false
}

// search takes the entries of readings from the order of the log, up to seq.
func (l *Log) search(readings []keep.Reading, limit topic.Limit) (entries []*topic.Entry, seq uint64, more bool) {
	selection, seq := keep.Select(readings, l.end, func(name string) (*topicLog, bool) {
		t := l.topics[name]
		return t, t != nil
	})
	bytes := 0
	for it := range l.order.After(seq) {
		if selection.Work >= keep.SearchItems {
			return entries, seq, true
		}
		if selection.Work++; it.Live() && selection.Has(it.Value, it.Value.name, it.Seq) {
			e := it.Value.entry(it.Seq)
			if bytes += len(e.Data); len(entries) > 0 && (len(entries) == limit.Events || bytes > limit.Bytes) {
				return entries, seq, true
			}
			entries = append(entries, e)
		}
		seq = it.Seq
	}
	return entries, l.end, false
}
