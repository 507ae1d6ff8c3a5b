package memlog

import (
	"context"
	"slices"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/internal/keep"
)

// Newest returns the newest events of the patterns. Its cursor is the end of
// the log when it was called: what comes meanwhile is not in the page.
func (l *Log) Newest(ctx context.Context, patterns []topic.Pattern, limit topic.Limit) (topic.Page, error) {
	if err := l.rlock(); err != nil {
		return topic.Page{}, err
	}
	page := topic.Page{Cursor: topic.Cursor{ID: l.id(l.end)}}
	limit, bytes := keep.Page(limit), 0
	// add takes an event, and reports whether there is room for more.
	add := func(e *topic.Entry) bool {
		if e.IsEnd() {
			return true
		}
		if bytes += len(e.Data); bytes <= limit.Bytes || len(page.Entries) == 0 {
			page.Entries = append(page.Entries, e)
		}
		return bytes < limit.Bytes && len(page.Entries) < limit.Events
	}
	if !keep.Wild(patterns) {
		m := keep.Merge[*topicLog]{Back: true}
		for _, p := range patterns {
			if t := l.topics[p.String()]; t != nil {
				m.Add(t, t.Len()-1)
			}
		}
		for t, i := range m.All() {
			if !add(t.at(i)) {
				break
			}
		}
		l.mu.RUnlock()
		slices.Reverse(page.Entries)
		return page, nil
	}
	for seq := l.end + 1; ; {
		var selection keep.Selection[*topicLog]
		selection.AddPatterns(patterns)
		over := true
		for it := range l.order.Before(seq) {
			if over = selection.Work < keep.SearchItems; !over {
				break
			}
			if selection.Work++; it.Live() && selection.Has(it.Value, it.Value.name, it.Seq) && !add(it.Value.entry(it.Seq)) {
				break
			}
			seq = it.Seq
		}
		l.mu.RUnlock()
		if over {
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
