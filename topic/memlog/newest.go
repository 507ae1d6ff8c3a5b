package memlog

import (
	"context"
	"slices"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// Newest returns the newest events of the patterns. Its cursor is the end of
// the log when it was called: what comes meanwhile is not in the page.
func (l *Log) Newest(ctx context.Context, patterns []topic.Pattern, limit int) (topic.Page, error) {
	if err := l.rlock(); err != nil {
		return topic.Page{}, err
	}
	page := topic.Page{Cursor: topic.Cursor{ID: l.id(l.end)}}
	if !keep.Wild(patterns) {
		m := keep.Merge[*topicLog]{Back: true}
		for _, p := range patterns {
			if t := l.topics[p.String()]; t != nil {
				m.Add(t, t.Len()-1)
			}
		}
		for t, i := range m.All() {
			if len(page.Entries) >= limit {
				break
			}
			if e := t.at(i); !e.IsEnd() {
				page.Entries = append(page.Entries, e)
			}
		}
		l.mu.RUnlock()
		slices.Reverse(page.Entries)
		return page, nil
	}
	for seq := l.end + 1; ; {
		items := 0
		for it := range l.order.Before(seq) {
			if items++; items > keep.SearchItems || len(page.Entries) >= limit {
				break
			}
			if it.Live() && keep.Matches(patterns, it.Value.name) {
				if e := it.Value.entry(it.Seq); !e.IsEnd() {
					page.Entries = append(page.Entries, e)
				}
			}
			seq = it.Seq
		}
		l.mu.RUnlock()
		if items <= keep.SearchItems {
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
