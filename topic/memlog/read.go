package memlog

import (
	"context"
	"math"
	"slices"

	"github.com/duplexhq/duplex/topic"
)

const (
	// searchItems bounds how far a search for patterns goes in the order of
	// the log before it lets go of the lock.
	searchItems = 16 << 10
	// pageEntries bounds a page, whatever the limit allows.
	pageEntries = 10_000
)

// reading is an interest while it is read.
type reading struct {
	patterns []topic.Pattern
	wild     bool   // not all of the patterns are literal
	known    bool   // the cursor is of this log
	from     uint64 // what is selected lies after it
	losing   losing
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
		r := reading{patterns: in.Patterns, wild: wild(in.Patterns), known: known}
		if r.known {
			r.from, r.searched = in.After.Seq, in.After.Seq
			r.losing = losing{patterns: r.patterns, wild: r.wild, seq: in.After.Seq, told: in.After.Told}
		}
		readings = append(readings, r)
	}
	for {
		if err := l.rlock(); err != nil {
			return topic.Page{}, err
		}
		page, found := l.page(interests, readings, limit)
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
func (l *Log) page(interests []topic.Interest, readings []reading, limit topic.Limit) (page topic.Page, found bool) {
	most := searchItems
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
	if limit.Events <= 0 {
		limit.Events = pageEntries
	}
	if limit.Bytes <= 0 {
		limit.Bytes = math.MaxInt
	}
	limit.Events = min(limit.Events, pageEntries)

	var seq uint64
	if slices.ContainsFunc(readings, func(r reading) bool { return r.wild }) {
		page.Entries, seq, page.More = l.search(readings, limit)
	} else {
		page.Entries, seq, page.More = l.merge(readings, limit)
	}
	page.Cursor.ID = l.id(seq)
	if page.More { // else nothing lies after it, also no loss
		for _, r := range readings {
			if l.mayMiss(r.patterns, seq) {
				page.Cursor.Told = l.clock
			}
		}
	}
	return page, true
}

// merge takes the entries of readings by name from their topics, up to seq.
func (l *Log) merge(readings []reading, limit topic.Limit) (entries []*topic.Entry, seq uint64, more bool) {
	var m merge
	for _, r := range readings {
		for _, p := range r.patterns {
			if t := l.topics[p.String()]; t != nil {
				m.add(t, t.after(r.from))
			}
		}
	}
	bytes := 0
	for e := m.next(); e != nil; e = m.next() {
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
	var wilds []wildFrom
	literals := make(map[*topicLog]uint64) // from where
	seq = readings[0].from
	for _, r := range readings {
		seq = min(seq, r.from)
		for _, p := range r.patterns {
			if !p.Literal() {
				wilds = append(wilds, wildFrom{p, r.from})
			} else if t := l.topics[p.String()]; t != nil {
				if from, ok := literals[t]; !ok || r.from < from {
					literals[t] = r.from
				}
			}
		}
	}
	bytes, items := 0, 0
	for it := range l.order.after(seq) {
		if items++; items > searchItems {
			return entries, seq, true
		}
		if l.order.live(it) && selects(wilds, literals, it) {
			e := it.topic.entry(it.seq)
			if bytes += len(e.Data); len(entries) > 0 && (len(entries) == limit.Events || bytes > limit.Bytes) {
				return entries, seq, true
			}
			entries = append(entries, e)
		}
		seq = it.seq
	}
	return entries, l.end, false
}

type wildFrom struct {
	pattern topic.Pattern
	from    uint64
}

func selects(wilds []wildFrom, literals map[*topicLog]uint64, it item) bool {
	if from, ok := literals[it.topic]; ok && it.seq > from {
		return true
	}
	for _, w := range wilds {
		if it.seq > w.from && w.pattern.Match(it.topic.name) {
			return true
		}
	}
	return false
}

func matches(patterns []topic.Pattern, name string) bool {
	for _, p := range patterns {
		if p.Match(name) {
			return true
		}
	}
	return false
}

func wild(patterns []topic.Pattern) bool {
	for _, p := range patterns {
		if !p.Literal() {
			return true
		}
	}
	return false
}
