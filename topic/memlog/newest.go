package memlog

import (
	"context"
	"slices"

	"github.com/duplexhq/duplex/topic"
)

// Newest returns the newest events of the patterns. Its cursor is the end of
// the log when it was called: what comes meanwhile is not in the page.
func (l *Log) Newest(ctx context.Context, patterns []topic.Pattern, limit int) (topic.Page, error) {
	if err := l.rlock(); err != nil {
		return topic.Page{}, err
	}
	page := topic.Page{Cursor: topic.Cursor{ID: l.id(l.end)}}
	if !wild(patterns) {
		m := merge{back: true}
		for _, p := range patterns {
			if t := l.topics[p.String()]; t != nil {
				m.add(t, t.len()-1)
			}
		}
		for e := m.next(); e != nil && len(page.Entries) < limit; e = m.next() {
			if !e.IsEnd() {
				page.Entries = append(page.Entries, e)
			}
		}
		l.mu.RUnlock()
		slices.Reverse(page.Entries)
		return page, nil
	}
	for seq := l.end + 1; ; {
		items := 0
		for it := range l.order.before(seq) {
			if items++; items > searchItems || len(page.Entries) >= limit {
				break
			}
			if l.order.live(it) && matches(patterns, it.topic.name) {
				if e := it.topic.entry(it.seq); !e.IsEnd() {
					page.Entries = append(page.Entries, e)
				}
			}
			seq = it.seq
		}
		l.mu.RUnlock()
		if items <= searchItems {
			slices.Reverse(page.Entries)
			return page, nil
		}
		if ctx.Err() != nil {
			return topic.Page{}, context.Cause(ctx)
		}
		if err := l.rlock(); err != nil {
			return topic.Page{}, err
		}
	}
}
