package memlog

import (
	"context"
	"slices"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// reading is an interest while it is read.
type reading struct {
	patterns []topic.Pattern
	wild     bool   // not all of the patterns are literal
	known    bool   // the cursor is of this log
	from     uint64 // what is selected lies after it
	losing   keep.LossSearch
	searched uint64 // up to here nothing that is selected is left; not kept without a gap
}

// Read returns a page. A limit that is not positive is none; a page never has
// more than 10,000 entries.
func (l *Log) Read(ctx context.Context, interests []topic.Interest, limit topic.Limit) (topic.Page, error) {
	var few [4]reading
	readings := few[:0]
	for _, in := range interests {
		known, err := l.Knows(ctx, in.After)
		if err != nil {
			return topic.Page{}, err
		}
		r := reading{patterns: in.Patterns, wild: keep.Wild(in.Patterns), known: known}
		if r.known {
			r.from, r.searched = in.After.Seq, in.After.Seq
			r.losing = keep.SearchFor(r.patterns, in.After.Seq, in.After.Told)
		}
		readings = append(readings, r)
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
func (l *Log) page(readings []reading, limit topic.Limit) (page topic.Page, found bool) {
	most := keep.SearchItems
	for i := range readings {
		r := &readings[i]
		if r.known {
			misses, known := l.misses(&r.losing, &most)
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
		page.Gaps = append(page.Gaps, topic.Gap{Interest: i, Oldest: oldest, Cursor: l.before(oldest, r.patterns)})
	}
	limit = keep.Page(limit)

	var seq uint64
	if slices.ContainsFunc(readings, func(r reading) bool { return r.wild }) {
		page.Entries, seq, page.More = l.search(readings, limit)
	} else {
		page.Entries, seq, page.More = l.merge(readings, limit)
	}
	page.Cursor.ID = l.id(seq)
	if page.More { // else nothing lies after it, also no loss
		if slices.ContainsFunc(readings, func(r reading) bool { return l.mayMiss(r.patterns, seq) }) {
			page.Cursor.Told = l.clock
		}
	}
	return page, true
}

// merge takes the entries of readings by name from their topics, up to seq.
func (l *Log) merge(readings []reading, limit topic.Limit) (entries []*topic.Entry, seq uint64, more bool) {
	var m keep.Merge[*topicLog]
	for _, r := range readings {
		for _, p := range r.patterns {
			if t := l.topics[p.String()]; t != nil {
				m.Add(t, t.after(r.from))
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
func (l *Log) search(readings []reading, limit topic.Limit) (entries []*topic.Entry, seq uint64, more bool) {
	selection, seq := l.selection(readings)
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

// selection returns what the readings select, and where in the order of the log
// that begins.
func (l *Log) selection(readings []reading) (s keep.Selection[*topicLog], from uint64) {
	from = readings[0].from
	for _, r := range readings {
		from = min(from, r.from)
		for _, p := range r.patterns {
			if !p.Literal() {
				s.AddPattern(p, r.from)
			} else if t := l.topics[p.String()]; t != nil {
				s.AddTopic(t, r.from)
			}
		}
	}
	return s, from
}
