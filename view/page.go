package view

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/duplexhq/duplex/topic"
)

// pageBytes bounds the data of one page, whatever its limit of events. Who asks
// for many at once, and takes none, has them all kept for --write-timeout.
const pageBytes = 1 << 20

// pageEnds bounds the ends of topics that one page tells of.
const pageEnds = 1000

// A page is a JSON answer in the making (PROTOCOL.md §5.4).
type page struct {
	events []*topic.Entry // ends of topics are none
	ends   []*topic.Entry // after the cursor asked for, of several topics
	cursor topic.Cursor
	more   bool
	gap    *topic.Gap
	asked  string // the cursor, for the gap
	end    bool
}

// empty reports whether a long-poll goes on waiting.
func (p *page) empty() bool {
	return len(p.events) == 0 && len(p.ends) == 0 && p.gap == nil && !p.end
}

// full reports whether the page has no room for an entry.
func (p *page) full(e *topic.Entry, rd *reading) bool {
	if e.IsEnd() {
		return len(p.ends) == pageEnds
	}
	return len(p.events) == rd.limit
}

// add appends an event or an end.
func (p *page) add(e *topic.Entry) {
	if e.IsEnd() {
		p.ends = append(p.ends, e)
	} else {
		p.events = append(p.events, e)
	}
}

// poll answers with a page at once (PROTOCOL.md §5.5).
func (h *Handler) poll(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	p, err := h.page(untilAnswered, rd)
	if err != nil {
		return h.problem(r, err)
	}
	if r.Method != http.MethodPost && p.gap == nil && h.unchanged(r, rd) {
		setPageHeader(w.Header(), r, rd, p)
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	writePage(w, r, rd, p)
	return nil
}

// head answers with the newest id as ETag (PROTOCOL.md §5.14).
func (h *Handler) head(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	p, err := h.headPage(untilAnswered, rd)
	if err != nil {
		return h.problem(r, err)
	}
	setPageHeader(w.Header(), r, rd, p)
	if p.gap == nil && h.unchanged(r, rd) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header()["Content-Type"] = isJSON
	return nil
}

// headPage has the place of the newest event, and the gap of the request's own
// cursor.
func (h *Handler) headPage(ctx context.Context, rd *reading) (*page, error) {
	if len(rd.patterns) == 0 {
		return &page{cursor: h.hub.Now().Cursor}, nil
	}
	p, err := h.newest(ctx, rd, 1)
	if err == nil && rd.hasCursor() {
		var asked *page
		if asked, err = h.page(ctx, rd); err == nil {
			p.gap = asked.gap
		}
	}
	return p, err
}

// start resolves where a subscription begins (PROTOCOL.md §5.2).
func (h *Handler) start(ctx context.Context, patterns []topic.Pattern, lastEventID, after string) (topic.Start, error) {
	lastEventID, after = strings.Clone(lastEventID), strings.Clone(after) // which may outlive the request
	switch {
	case lastEventID != "":
		return h.after(ctx, patterns, lastEventID)
	case after == "" || after == "now":
		return h.hub.Now(), nil
	case after == "earliest":
		return h.hub.Earliest(ctx, patterns)
	}
	return h.after(ctx, patterns, after)
}

// atEnd reports whether the request is for one topic that has ended at or
// before the cursor.
func (h *Handler) atEnd(rd *reading, cursor topic.Cursor) bool {
	if !rd.oneTopic() || cursor.Epoch == 0 {
		return false
	}
	end, ok := h.hub.Log().Ended(rd.patterns[0].String())
	return ok && cursor.Seq >= end.Seq
}

// page reads what a poll asks for: after its cursor, or else the newest.
func (h *Handler) page(ctx context.Context, rd *reading) (*page, error) {
	if !rd.hasCursor() {
		return h.newest(ctx, rd, rd.limit)
	}
	start, err := h.start(ctx, rd.patterns, rd.lastEventID, rd.after)
	if err != nil {
		return nil, err
	}
	return h.pageAfter(ctx, rd, start)
}

// newest reads the last page of history.
func (h *Handler) newest(ctx context.Context, rd *reading, limit int) (*page, error) {
	newest, err := h.hub.Log().Newest(ctx, rd.patterns, topic.Limit{Events: limit, Bytes: pageBytes})
	if err != nil {
		return nil, err
	}
	p := &page{events: newest.Entries, cursor: newest.Cursor, end: h.atEnd(rd, newest.Cursor)}
	if n := len(p.events); n > 0 {
		p.cursor = topic.Cursor{ID: p.events[n-1].ID}
	}
	return p, nil
}

// pageAfter reads on until the page is full or the log is at its end.
func (h *Handler) pageAfter(ctx context.Context, rd *reading, start topic.Start) (*page, error) {
	p := &page{asked: cmp.Or(start.Asked, start.Cursor.String())}
	at, told, size := start.Cursor, start.Cursor.Told, 0
	for more := true; more; {
		// One event more than the page takes shows whether there are more.
		limit := topic.Limit{Events: rd.limit + 1 - len(p.events), Bytes: pageBytes}
		read, err := h.hub.Log().Read(ctx, []topic.Interest{{Patterns: rd.patterns, After: at}}, limit)
		if err != nil {
			return nil, err
		}
		if len(read.Gaps) > 0 {
			if p.more = !p.empty(); p.more {
				return p, nil // retention overtook the reading: the next page tells
			}
			p.gap = &read.Gaps[0]
			at, told = p.gap.Cursor, p.gap.Cursor.Told
		}
		if start.Lost && p.gap == nil {
			p.gap = &topic.Gap{Cursor: at}
			if len(read.Entries) > 0 {
				p.gap.Oldest = read.Entries[0].ID
			}
		}
		for _, e := range read.Entries {
			if e.IsEnd() && rd.oneTopic() {
				continue
			}
			size += len(e.Data)
			if p.more = p.full(e, rd) || size > pageBytes && len(p.events) > 0; p.more {
				return p, nil
			}
			p.add(e)
			p.cursor = topic.Cursor{Told: told}.Advance(e.ID)
		}
		if at.Seq < read.Cursor.Seq {
			at = at.Advance(read.Cursor.ID)
		}
		more = read.More
	}
	if len(p.events) == 0 {
		p.cursor = at
	}
	p.end = h.atEnd(rd, at)
	return p, nil
}

// unchanged reports whether the log has nothing after an If-None-Match cursor
// (PROTOCOL.md §5.7, RFC 9110 §13.1.2). The log decides: an older tag is still
// good if only other topics moved.
func (h *Handler) unchanged(r *http.Request, rd *reading) bool {
	tags := r.Header.Values("If-None-Match")
	if len(tags) == 1 && strings.TrimSpace(tags[0]) == "*" {
		return true // "the condition is false if the origin server has a current representation", which every page is
	}
	asked := 0
	for tag := range entityTags(tags) {
		if asked++; asked > maxTags {
			break // the page is a good answer, too
		}
		start, err := h.after(r.Context(), rd.patterns, tag)
		if err == nil && start.Cursor.Epoch != 0 && !start.Lost && h.nothingAfter(r.Context(), rd.patterns, start.Cursor) {
			return true
		}
	}
	return false
}

// nothingAfter reports whether neither an event nor an end nor a loss lies
// after the cursor. Without patterns, all topics count.
func (h *Handler) nothingAfter(ctx context.Context, patterns []topic.Pattern, after topic.Cursor) bool {
	if len(patterns) == 0 {
		return after.ID == h.hub.Now().Cursor.ID
	}
	for {
		read, err := h.hub.Log().Read(ctx, []topic.Interest{{Patterns: patterns, After: after}}, topic.Limit{Events: 1, Bytes: 1})
		if err != nil || len(read.Entries) > 0 || len(read.Gaps) > 0 {
			return false // an error: the page has told of it, or is good
		}
		if !read.More {
			return true
		}
		after = after.Advance(read.Cursor.ID)
	}
}

// maxTags bounds the tags of an If-None-Match that the log is asked about.
const maxTags = 8

// entityTags yields the opaque tags of an If-None-Match list.
func entityTags(values []string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, value := range values {
			for {
				_, rest, ok := strings.Cut(value, `"`)
				if !ok {
					break
				}
				tag, after, ok := strings.Cut(rest, `"`)
				if !ok {
					break
				}
				if !yield(tag) {
					return
				}
				value = after
			}
		}
	}
}

func etag(c topic.Cursor) string { return `"` + c.String() + `"` }

// nextLink repeats the request's query with the page's cursor (RFC 8288).
func nextLink(query url.Values, c topic.Cursor) string {
	next := maps.Clone(query)
	next.Set("after", c.String())
	return "<?" + next.Encode() + `>; rel="next"`
}

// setPageHeader sets the fields that a 304 has as the 200 would have them (RFC
// 9110 §15.4.5).
func setPageHeader(header http.Header, r *http.Request, rd *reading, p *page) {
	header.Set("ETag", etag(p.cursor))
	if r.Method != http.MethodGet {
		return
	}
	header.Set("Link", nextLink(rd.query, p.cursor))
	if rd.isHistory() && p.more && p.gap == nil { // the same as long as it is kept
		header.Set("Cache-Control", "private, max-age=60")
	}
}

// writePage writes a page with the header fields that are of it.
func writePage(w http.ResponseWriter, r *http.Request, rd *reading, p *page) {
	end := append(make([]byte, 0, 128), `],"cursor":"`...)
	end = p.cursor.AppendTo(end)
	end = append(end, `","more":`...)
	end = strconv.AppendBool(end, p.more)
	if p.gap != nil {
		end = append(end, `,"gap":`...)
		end = topic.AppendGapJSON(end, *p.gap, p.asked, "")
	}
	if p.end {
		end = append(end, `,"end":true`...)
	}
	for i, e := range p.ends {
		sep := `,`
		if i == 0 {
			sep = `,"ends":[`
		}
		end = append(append(end, sep...), lineOf(e)...)
	}
	if len(p.ends) > 0 {
		end = append(end, ']')
	}
	end = append(end, '}')
	setPageHeader(w.Header(), r, rd, p)
	writeList(w, `{"events":[`, p.events, lineOf, end)
}

// lineOf is the JSON of an event, or of a $end.
func lineOf(e *topic.Entry) []byte {
	line := e.Encode(formLines)
	return line[:len(line)-1]
}

// hasCursor reports whether the request says where its page begins.
func (rd *reading) hasCursor() bool { return rd.lastEventID != "" || rd.after != "" }

// isHistory reports whether the request names the place of its page in the log.
func (rd *reading) isHistory() bool {
	return rd.lastEventID == "" && rd.after != "" && rd.after != "earliest" && rd.after != "now"
}
