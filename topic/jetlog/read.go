package jetlog

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
	// pageEntries and pageBytes bound a page, whatever the limit allows.
	pageEntries = 10_000
	pageBytes   = 64 << 20
)

// reading is an interest while it is read.
type reading struct {
	patterns []topic.Pattern
	wild     bool   // not all of the patterns are literal
	known    bool   // the cursor is of this log
	from     uint64 // what is selected lies after it
	searched uint64 // up to here nothing that is selected is left; not kept without a gap
}

// Read returns a page. A limit that is not positive is none; a page never has
// more than 10,000 entries or 64 MiB. What is not in memory is read from the
// disk.
func (l *Log) Read(ctx context.Context, interests []topic.Interest, limit topic.Limit) (topic.Page, error) {
	for {
		page, refs, err := l.choose(ctx, interests, limit)
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
	var few [4]reading
	readings := few[:0]
	for _, in := range interests {
		known, err := l.Knows(ctx, in.After)
		if err != nil {
			return topic.Page{}, nil, err
		}
		r := reading{patterns: in.Patterns, wild: wild(in.Patterns), known: known}
		if r.known {
			r.from, r.searched = in.After.Seq, in.After.Seq
		}
		readings = append(readings, r)
	}
	for {
		if err := l.rlock(); err != nil {
			return topic.Page{}, nil, err
		}
		page, refs, found := l.page(interests, readings, limit)
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
func (l *Log) page(interests []topic.Interest, readings []reading, limit topic.Limit) (page topic.Page, refs []ref, found bool) {
	x := l.index
	most := searchItems
	for i := range readings {
		r := &readings[i]
		if r.known && !x.misses(r.patterns, r.from, interests[i].After.Told) {
			continue
		}
		oldest, found := x.first(r, &most)
		if !found {
			return topic.Page{}, nil, false
		}
		seq, told := x.before(oldest, r.patterns)
		gap := topic.Gap{Interest: i, Cursor: topic.Cursor{ID: l.id(seq), Told: told}}
		if oldest != 0 {
			gap.Oldest = l.id(oldest)
		}
		page.Gaps = append(page.Gaps, gap)
	}
	if limit.Events <= 0 {
		limit.Events = pageEntries
	}
	if limit.Bytes <= 0 {
		limit.Bytes = math.MaxInt
	}
	limit.Events, limit.Bytes = min(limit.Events, pageEntries), min(limit.Bytes, pageBytes)

	s := selection{log: l, limit: limit}
	if slices.ContainsFunc(readings, func(r reading) bool { return r.wild }) {
		s.search(readings)
	} else {
		s.merge(readings)
	}
	page.More = s.more
	page.Cursor.ID = l.id(s.seq)
	if page.More { // else nothing lies after it, also no loss
		for _, r := range readings {
			if x.misses(r.patterns, s.seq, 0) {
				page.Cursor.Told = x.clock
			}
		}
	}
	return page, s.refs, true
}

// selection is what a page will hold, up to seq.
type selection struct {
	log   *Log
	limit topic.Limit
	refs  []ref
	bytes int
	seq   uint64
	more  bool
}

// add takes one more entry, unless the page is full.
func (s *selection) add(r ref) bool {
	if s.bytes += r.bytes(); len(s.refs) > 0 && (len(s.refs) == s.limit.Events || s.bytes > s.limit.Bytes) {
		s.more = true
		return false
	}
	s.refs = append(s.refs, r)
	return true
}

// merge takes the entries of readings by name from their topics.
func (s *selection) merge(readings []reading) {
	x := s.log.index
	var m merge
	for _, r := range readings {
		for _, p := range r.patterns {
			if t := x.topics[p.String()]; t != nil {
				m.add(t, t.after(r.from))
			}
		}
	}
	for seq, t := m.next(); t != nil; seq, t = m.next() {
		if !s.add(s.log.ref(seq, t)) {
			return
		}
		s.seq = seq
	}
	s.seq = x.end
}

// search takes the entries of readings from the order of the log.
func (s *selection) search(readings []reading) {
	x := s.log.index
	var wilds []wildFrom
	literals := make(map[uint32]uint64) // from where, by number
	s.seq = readings[0].from
	for _, r := range readings {
		s.seq = min(s.seq, r.from)
		for _, p := range r.patterns {
			if !p.Literal() {
				wilds = append(wilds, wildFrom{p, r.from})
			} else if t := x.topics[p.String()]; t != nil {
				if from, ok := literals[t.number]; !ok || r.from < from {
					literals[t.number] = r.from
				}
			}
		}
	}
	items := 0
	for it := range x.order.after(s.seq) {
		if items++; items > searchItems {
			s.more = true
			return
		}
		if it.live() && selects(wilds, literals, it, x.numbered[it.topic-1].name) && !s.add(s.log.refOf(it)) {
			return
		}
		s.seq = it.seq
	}
	s.seq = x.end
}

type wildFrom struct {
	pattern topic.Pattern
	from    uint64
}

func selects(wilds []wildFrom, literals map[uint32]uint64, it *item, name string) bool {
	if from, ok := literals[it.topic]; ok && it.seq > from {
		return true
	}
	for _, w := range wilds {
		if it.seq > w.from && w.pattern.Match(name) {
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

// Newest returns the newest events of the patterns. Its cursor is the end of
// the log when it was called: what comes meanwhile is not in the page.
func (l *Log) Newest(ctx context.Context, patterns []topic.Pattern, limit int) (topic.Page, error) {
	for {
		page, refs, err := l.selectNewest(ctx, patterns, limit)
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

func (l *Log) selectNewest(ctx context.Context, patterns []topic.Pattern, limit int) (page topic.Page, refs []ref, err error) {
	if err := l.rlock(); err != nil {
		return topic.Page{}, nil, err
	}
	x := l.index
	page.Cursor.ID = l.id(x.end)
	if !wild(patterns) {
		m := merge{back: true}
		for _, p := range patterns {
			if t := x.topics[p.String()]; t != nil {
				m.add(t, len(t.seqs)-1)
			}
		}
		for seq, t := m.next(); t != nil && len(refs) < limit; seq, t = m.next() {
			if r := l.ref(seq, t); !r.isEnd() {
				refs = append(refs, r)
			}
		}
		l.mu.RUnlock()
		slices.Reverse(refs)
		return page, refs, nil
	}
	for seq := x.end + 1; ; {
		items := 0
		for it := range x.order.before(seq) {
			if items++; items > searchItems || len(refs) >= limit {
				break
			}
			if it.live() && !it.isEnd() && matches(patterns, x.numbered[it.topic-1].name) {
				refs = append(refs, l.refOf(it))
			}
			seq = it.seq
		}
		l.mu.RUnlock()
		if items <= searchItems {
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
