package view

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// pageBytes bounds the data of one page, whatever its limit of events.
const pageBytes = 8 << 20

// A page is a JSON answer in the making (PROTOCOL.md §5.4).
type page struct {
	entries []*topic.Entry
	cursor  topic.Cursor
	more    bool
	gap     *topic.Gap
	asked   string // the cursor, for the gap
	end     bool
}

// empty reports whether a long-poll goes on waiting.
func (p *page) empty() bool { return len(p.entries) == 0 && p.gap == nil && !p.end }

// poll answers with a page at once (PROTOCOL.md §5.5).
func (h *Handler) poll(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	p, err := h.page(r.Context(), rd)
	if err != nil {
		return h.problem(r, err)
	}
	if r.Method == http.MethodGet && p.gap == nil && h.unchanged(w, r, rd, p.cursor) {
		return nil
	}
	h.writePage(w, r, rd, p)
	return nil
}

// head answers with the newest id as ETag (PROTOCOL.md §5.14).
func (h *Handler) head(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	newest, err := h.hub.Log().Newest(r.Context(), rd.patterns, 1)
	if err != nil {
		return h.problem(r, err)
	}
	at := newest.Cursor
	if len(newest.Entries) > 0 {
		at = topic.Cursor{ID: newest.Entries[len(newest.Entries)-1].ID}
	}
	if h.unchanged(w, r, rd, at) {
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("ETag", etag(at))
	return nil
}

// longpoll holds the request until its page has something (PROTOCOL.md §5.6).
func (h *Handler) longpoll(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	start, problem := h.start(r.Context(), rd)
	if problem != nil {
		return problem
	}
	p, err := h.pageAfter(r.Context(), rd, start)
	// A client that has closed its side may still read: it gets the empty page.
	if err == nil && p.empty() && rd.wait > 0 && h.hold(r, rd, p.cursor) {
		p, err = h.pageAfter(r.Context(), rd, topic.Start{Cursor: p.cursor})
	}
	if err != nil {
		return h.problem(r, err)
	}
	w.Header().Set("Preference-Applied", "wait="+strconv.FormatInt(int64(rd.wait/time.Second), 10))
	h.writePage(w, r, rd, p)
	return nil
}

// hold waits until there is something after the cursor, the time is over or
// the server stops. It returns false if the client has closed its side.
func (h *Handler) hold(r *http.Request, rd *reading, after topic.Cursor) bool {
	sink := newHandoff()
	sub := h.hub.Subscribe(sink, topic.Options{}, rd.selection(topic.Start{Cursor: after}))
	defer sub.Close()
	timeout := time.NewTimer(rd.wait)
	defer timeout.Stop()
	select {
	case <-sink.filled:
	case <-timeout.C:
	case <-h.draining:
	case <-r.Context().Done():
		return false
	}
	return true
}

// start resolves where the request begins (PROTOCOL.md §5.2).
func (h *Handler) start(ctx context.Context, rd *reading) (topic.Start, *Problem) {
	switch {
	case rd.lastEventID != "":
		return h.hub.After(rd.lastEventID), nil
	case rd.after == "" || rd.after == "now":
		return h.hub.Now(), nil
	case rd.after == "earliest":
		start, err := h.hub.Earliest(ctx, rd.patterns)
		if err != nil {
			return start, problemOf(err)
		}
		return start, nil
	}
	return h.hub.After(rd.after), nil
}

// atEnd reports whether the request is for one topic that has ended at or
// before its cursor.
func (h *Handler) atEnd(rd *reading, start topic.Start) bool {
	if !rd.oneTopic() || start.Cursor.Epoch == 0 {
		return false
	}
	end, ok := h.hub.Log().Ended(rd.patterns[0].String())
	return ok && start.Cursor.Seq >= end.Seq
}

// page reads what a poll asks for: after its cursor, or else the newest.
func (h *Handler) page(ctx context.Context, rd *reading) (*page, error) {
	if rd.lastEventID != "" || rd.after != "" {
		start, problem := h.start(ctx, rd)
		if problem != nil {
			return nil, problem
		}
		return h.pageAfter(ctx, rd, start)
	}
	newest, err := h.hub.Log().Newest(ctx, rd.patterns, rd.limit)
	if err != nil {
		return nil, err
	}
	p := &page{entries: newest.Entries, cursor: newest.Cursor}
	for size := 0; len(p.entries) > 1; {
		for _, e := range p.entries {
			size += len(e.Data)
		}
		if size <= pageBytes {
			break
		}
		p.entries = p.entries[(len(p.entries)+1)/2:] // the newest half
		size = 0
	}
	if n := len(p.entries); n > 0 {
		p.cursor = topic.Cursor{ID: p.entries[n-1].ID}
	}
	p.end = h.atEnd(rd, topic.Start{Cursor: newest.Cursor})
	return p, nil
}

func (h *Handler) pageAfter(ctx context.Context, rd *reading, start topic.Start) (*page, error) {
	p := &page{cursor: start.Cursor, asked: start.Asked, more: true}
	interests := []topic.Interest{{Patterns: rd.patterns, After: start.Cursor}}
	limit := topic.Limit{Events: rd.limit, Bytes: pageBytes}
	told := start.Cursor.Told
	for p.more && limit.Events > 0 && limit.Bytes > 0 {
		read, err := h.hub.Log().Read(ctx, interests, limit)
		if err != nil {
			return nil, err
		}
		for _, g := range read.Gaps {
			p.gap = new(g)
			interests[0].After, told = g.Cursor, g.Cursor.Told
		}
		for _, e := range read.Entries {
			p.entries = append(p.entries, e)
			limit.Events--
			limit.Bytes -= len(e.Data)
		}
		if interests[0].After.Seq < read.Cursor.Seq {
			interests[0].After = interests[0].After.Advance(read.Cursor.ID)
		}
		p.more = read.More
	}
	p.cursor = interests[0].After
	if n := len(p.entries); n > 0 {
		p.cursor = topic.Cursor{Told: told}.Advance(p.entries[n-1].ID)
	}
	p.end = !p.more && h.atEnd(rd, topic.Start{Cursor: interests[0].After})
	return p, nil
}

// unchanged answers 304 if the log has nothing after an If-None-Match cursor
// (PROTOCOL.md §5.7, RFC 9110 §13.1.2). The log decides: an older tag is still
// good if only other topics moved.
func (h *Handler) unchanged(w http.ResponseWriter, r *http.Request, rd *reading, at topic.Cursor) bool {
	for tag := range entityTags(r.Header.Values("If-None-Match")) {
		start := h.hub.After(tag)
		if start.Cursor.Epoch == 0 {
			continue
		}
		p, err := h.hub.Log().Read(r.Context(), []topic.Interest{{Patterns: rd.patterns, After: start.Cursor}}, topic.Limit{Events: 1, Bytes: 1})
		if err != nil || p.More || len(p.Entries) > 0 || len(p.Gaps) > 0 {
			continue
		}
		w.Header().Set("ETag", etag(at))
		w.Header().Set("Cache-Control", "no-store")
		if r.Method == http.MethodGet {
			w.Header().Set("Link", nextLink(r, at))
		}
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	return false
}

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
func nextLink(r *http.Request, c topic.Cursor) string {
	q := r.URL.Query()
	q.Set("after", c.String())
	return "<?" + q.Encode() + `>; rel="next"`
}

func (h *Handler) writePage(w http.ResponseWriter, r *http.Request, rd *reading, p *page) {
	size := 128
	for _, e := range p.entries {
		size += len(e.Data) + 160
	}
	body := append(make([]byte, 0, size), `{"events":[`...)
	first := true
	for _, e := range p.entries {
		if e.IsEnd() {
			continue
		}
		if !first {
			body = append(body, ',')
		}
		first = false
		line := e.Encode(formLines)
		body = append(body, line[:len(line)-1]...)
	}
	body = append(body, `],"cursor":"`...)
	body = p.cursor.AppendTo(body)
	body = append(body, `","more":`...)
	body = strconv.AppendBool(body, p.more)
	if p.gap != nil {
		body = append(body, `,"gap":`...)
		body = topic.AppendGapJSON(body, *p.gap, p.asked, "")
	}
	if p.end {
		body = append(body, `,"end":true`...)
	}
	body = append(body, '}')

	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	if r.Method == http.MethodGet && rd.isHistory() && p.more && p.gap == nil {
		header.Set("Cache-Control", "private, max-age=60") // history: the same as long as it is kept
	}
	header.Set("ETag", etag(p.cursor))
	if r.Method == http.MethodGet {
		header.Set("Link", nextLink(r, p.cursor))
	}
	_, _ = w.Write(body) // an error means that the client is gone
}

// isHistory reports whether the request names the place of its page in the log.
func (rd *reading) isHistory() bool {
	return rd.lastEventID == "" && rd.after != "" && rd.after != "earliest" && rd.after != "now"
}
