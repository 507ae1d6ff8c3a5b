package logtest

import (
	"slices"
	"strings"

	"github.com/duplexhq/duplex/topic"
)

// reader reads as a subscriber does: each of its interests is a cursor that
// gaps and pages move forward.
type reader struct {
	l         *subject
	interests []topic.Interest
	limit     topic.Limit
}

// read makes a reader with one interest.
func (l *subject) read(after topic.Cursor, patterns ...string) *reader {
	return &reader{l: l, limit: topic.Limit{Events: 100, Bytes: 1 << 20}, interests: []topic.Interest{
		{Patterns: parse(patterns...), After: after},
	}}
}

// and adds an interest.
func (r *reader) and(after topic.Cursor, patterns ...string) *reader {
	r.interests = append(r.interests, topic.Interest{Patterns: parse(patterns...), After: after})
	return r
}

// by sets the limit of events.
func (r *reader) by(events int) *reader {
	r.limit.Events = events
	return r
}

// page reads a page, checks what must hold for every page, and moves the
// cursors.
func (r *reader) page() topic.Page {
	t := r.l.t
	t.Helper()
	before := slices.Clone(r.interests)
	page, err := r.l.Read(t.Context(), before, r.limit)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	if len(page.Entries) > max(1, r.limit.Events) && r.limit.Events > 0 {
		t.Fatalf("page of %d entries, limit %d", len(page.Entries), r.limit.Events)
	}
	bytes, seq := 0, uint64(0)
	for _, e := range page.Entries {
		bytes += len(e.Data)
		if e.ID.Seq <= seq {
			t.Fatalf("entry %d after entry %d", e.ID.Seq, seq)
		}
		seq = e.ID.Seq
	}
	if len(page.Entries) > 1 && bytes > r.limit.Bytes && r.limit.Bytes > 0 {
		t.Fatalf("page of %d bytes in %d entries, limit %d", bytes, len(page.Entries), r.limit.Bytes)
	}
	if page.Cursor.Seq < seq {
		t.Fatalf("cursor of page %v is before its last entry, %d", page.Cursor, seq)
	}
	if page.More && len(page.Entries) == 0 && !r.moves(page.Cursor) {
		t.Fatalf("page has no entries, its cursor %v has not moved, and there is more", page.Cursor)
	}
	told := make(map[int]bool)
	for _, g := range page.Gaps {
		if told[g.Interest] {
			t.Fatalf("interest %d has two gaps", g.Interest)
		}
		told[g.Interest] = true
		r.interests[g.Interest].After = g.Cursor
	}
	for i := range r.interests {
		in := &r.interests[i]
		if in.After.Seq < page.Cursor.Seq {
			in.After = in.After.Advance(page.Cursor.ID)
		}
		// A cursor travels as text.
		if c, err := topic.ParseCursor(in.After.String()); err != nil || c != in.After {
			t.Fatalf("cursor %+v as text is %q, which reads as %+v, %v", in.After, in.After, c, err)
		}
	}
	return page
}

// moves reports whether c lies after the least of the cursors.
func (r *reader) moves(c topic.Cursor) bool {
	return slices.ContainsFunc(r.interests, func(in topic.Interest) bool {
		return !r.l.knows(in.After) || in.After.Seq < c.Seq
	})
}

// rest reads until there is no more.
func (r *reader) rest() (entries []*topic.Entry, gaps []topic.Gap) {
	r.l.t.Helper()
	for pages := 0; ; pages++ {
		if pages > 100_000 {
			r.l.t.Fatalf("%s: no end", describe(r.interests))
		}
		page := r.page()
		entries = append(entries, page.Entries...)
		gaps = append(gaps, page.Gaps...)
		if !page.More {
			return entries, gaps
		}
	}
}

// want checks that exactly this is left to read, without a gap.
func (r *reader) want(data ...string) {
	r.l.t.Helper()
	what := describe(r.interests)
	entries, gaps := r.rest()
	wantList(r.l.t, what, show(entries), data...)
	if len(gaps) > 0 {
		r.l.t.Errorf("%s: false gap %+v", what, gaps)
	}
}

// wantGap checks that the only interest has this gap, told once, and that
// exactly the data is left to read. No data means that nothing is left.
func (r *reader) wantGap(oldest topic.ID, data ...string) {
	r.l.t.Helper()
	what := describe(r.interests)
	entries, gaps := r.rest()
	wantList(r.l.t, what, show(entries), data...)
	if len(gaps) != 1 {
		r.l.t.Errorf("%s: %d gaps, want one: %+v", what, len(gaps), gaps)
		return
	}
	if gaps[0].Oldest != oldest {
		r.l.t.Errorf("%s: oldest after the gap is %v, want %v", what, gaps[0].Oldest, oldest)
	}
	before := r.l.End().Seq
	if oldest != (topic.ID{}) {
		before = oldest.Seq - 1
	}
	if gaps[0].Cursor.ID != r.l.at(before).ID {
		r.l.t.Errorf("%s: cursor of the gap is %v, want one at %d", what, gaps[0].Cursor, before)
	}
}

// describe names the interests.
func describe(interests []topic.Interest) string {
	var s strings.Builder
	s.WriteString("read")
	for _, in := range interests {
		for _, p := range in.Patterns {
			s.WriteString(" " + p.String())
		}
		s.WriteString(" after " + in.After.String())
	}
	return s.String()
}
