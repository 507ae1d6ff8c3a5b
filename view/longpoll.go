package view

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/duplexhq/duplex/internal/poller"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/presence"
)

// parkAfter is how long a poll is held by its handler before it leaves net/http:
// those that are answered soon are cheaper there.
const parkAfter = time.Second

// longpoll holds the request until its page has something (PROTOCOL.md §5.6).
func (h *Handler) longpoll(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	ctx := untilAnswered
	start, err := h.start(ctx, rd.patterns, rd.lastEventID, rd.after)
	if err != nil {
		return h.problem(r, err)
	}
	visit, problem := h.visitByPoll(rd)
	if problem != nil {
		return problem
	}
	defer func() { visit.End() }()
	w.Header().Set("Preference-Applied", "wait="+strconv.FormatInt(int64(rd.wait/time.Second), 10))
	until := time.Now().Add(rd.wait)
	p, err := h.pageAfter(ctx, rd, start)
	for held := rd.wait > 0; held && err == nil && p.empty(); {
		at := topic.Start{Cursor: p.cursor, Asked: start.Asked}
		woken := h.hold(w, r, rd, at, until, visit)
		if woken.parked {
			visit = nil // the link ends it
			return nil
		}
		if r.Context().Err() != nil {
			break // who has closed his side may still read: he gets the empty page
		}
		held = woken.held
		p, err = h.pageOf(ctx, rd, at, woken.entries)
	}
	if err != nil {
		return h.problem(r, err)
	}
	writePage(w, r, rd, p)
	return nil
}

// pageOf is the page of what a held poll was told of, or else of what the log
// has now. Events that are not kept are only told of.
func (h *Handler) pageOf(ctx context.Context, rd *reading, at topic.Start, told []*topic.Entry) (*page, error) {
	if len(told) == 0 {
		return h.pageAfter(ctx, rd, at)
	}
	p := &page{cursor: at.Cursor}
	for _, e := range told {
		if p.more = p.full(e, rd); p.more {
			return p, nil
		}
		p.cursor = p.cursor.Advance(e.ID)
		if !e.IsEnd() || !rd.oneTopic() {
			p.add(e)
		}
	}
	p.end = h.atEnd(rd, p.cursor)
	return p, nil
}

// woken is how the holding of a poll has ended.
type woken struct {
	parked  bool           // the poller holds it now, and answers it
	held    bool           // it may be held again: neither is the time over, nor does the server stop
	entries []*topic.Entry // what it was told of
}

// hold waits until there is something after the cursor, the time is over, the
// server stops or the client has closed its side, or the poll is parked.
func (h *Handler) hold(w http.ResponseWriter, r *http.Request, rd *reading, at topic.Start, until time.Time, visit *presence.Visit) woken {
	sink := newHandoff()
	sub := h.hub.Subscribe(sink, topic.SubscribeOptions{}, rd.selection(at))
	defer sub.Close()
	timeout := time.NewTimer(time.Until(until))
	defer timeout.Stop()
	park := time.NewTimer(parkAfter)
	defer park.Stop()
	for {
		select {
		case <-sink.filled:
			return woken{held: sink.batch.End == nil, entries: sink.batch.Entries}
		case <-park.C:
			if h.park(w, r, rd, at, until, visit) {
				return woken{parked: true}
			}
		case <-timeout.C:
			return woken{}
		case <-r.Context().Done():
			return woken{}
		}
	}
}

// A heldPoll is a long-poll on a link.
type heldPoll struct {
	link
	method   string
	url      *url.URL
	header   http.Header
	rd       *reading
	at       topic.Start
	until    time.Time
	answered bool
}

// park lets the poller hold a request that was not answered. It reports false
// if it cannot; else the visit is the link's.
func (h *Handler) park(w http.ResponseWriter, r *http.Request, rd *reading, at topic.Start, until time.Time, visit *presence.Visit) bool {
	if !r.ProtoAtLeast(1, 1) || r.ContentLength != 0 || r.Close || w.Header().Get("Connection") != "" {
		return false // the connection is not to be used again, or holds a body: net/http knows how
	}
	p := &heldPoll{link: link{visit: visit}, method: r.Method, url: r.URL, header: maps.Clone(w.Header()), rd: rd, at: at, until: until}
	return h.take(w, r, &p.link, p, p.hold)
}

// hold waits for something after the cursor.
func (p *heldPoll) hold() {
	p.sub = p.handler.hub.Subscribe(p, topic.SubscribeOptions{}, p.rd.selection(p.at))
	p.conn.SetAlarm(max(time.Until(p.until), 1))
}

// Send is the hub's: there is something to read, or the server stops.
func (p *heldPoll) Send(b topic.Batch) bool {
	told := slices.Clone(b.Entries)
	p.conn.Do(func() { p.wake(told) })
	return false
}

// Alarm says that the time is over.
func (p *heldPoll) Alarm(*poller.Conn) { p.wake(nil) }

// wake has the poll answered. Reading the log may take its time.
func (p *heldPoll) wake(told []*topic.Entry) {
	if p.gone || p.answered {
		return
	}
	p.answered = true
	p.leave()
	if !p.reusable {
		p.header.Set("Connection", "close")
	}
	go p.answer(told) // ends when the answer is written; the connection counts until then
}

// answer sends the page, or goes on waiting if there is nothing after all.
func (p *heldPoll) answer(told []*topic.Entry) {
	defer func() {
		if v := recover(); v != nil {
			logPanic(p.handler.opts.Logger, v, debug.Stack())
			p.conn.Abort()
		}
	}()
	page, err := p.handler.pageOf(context.Background(), p.rd, p.at, told)
	if err == nil && page.empty() && !p.handler.draining.Load() && time.Now().Before(p.until) {
		p.conn.Do(func() {
			if p.answered = p.gone; !p.gone {
				p.at.Cursor = page.cursor
				p.hold()
			}
		})
		return
	}
	p.write(p.response(page, err))
	p.conn.Do(p.finish)
}

// response gives the bytes of the answer.
func (p *heldPoll) response(page *page, err error) []byte {
	r := &http.Request{Method: p.method, URL: p.url}
	a := kept{header: p.header, status: http.StatusOK}
	if err != nil {
		p.handler.problem(r, err).write(&a, r)
	} else {
		writePage(&a, r, p.rd, page)
	}
	a.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	response := http.Response{
		StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: a.header, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()),
		Close: p.handler.draining.Load() || p.header.Get("Connection") != "",
	}
	var b bytes.Buffer
	_ = response.Write(&b) // a bytes.Buffer takes everything
	return b.Bytes()
}

// HalfClosed answers who has closed his side with an empty page: he may still
// read.
func (p *heldPoll) HalfClosed(*poller.Conn) (goOn bool) {
	p.reusable = false
	if !p.answered {
		p.answered = true
		p.header.Set("Connection", "close")
		p.write(p.response(&page{cursor: p.at.Cursor}, nil))
		return false
	}
	pending, _ := p.conn.Write() // of nothing
	return !p.resting || pending > 0
}

// Data is the next request. While this one is not answered, it waits.
func (p *heldPoll) Data(_ *poller.Conn, data []byte) {
	if p.resting {
		p.next(data)
		return
	}
	p.ahead(data)
}

// kept is an answer that is written elsewhere.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.header }
func (k *kept) WriteHeader(status int)      { k.status = status }
func (k *kept) Write(p []byte) (int, error) { return k.body.Write(p) }
