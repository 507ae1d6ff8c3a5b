package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/duplexhq/duplex/sse"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/websocket/wire"
)

// A roamer reads its topics through one cursor, by one transport after the
// other.
type roamer struct {
	*subscriber
	names    []string
	patterns []topic.Pattern
	cursor   string // "" if it has none
	place    uint64 // what it has come to
	waits    bool   // it reads what comes seldom, mostly by long-polls on one link
	over     bool   // its topic has ended
	told     bool   // the server has said that it stops
	link     *link  // kept alive from the last request; nil if there is none
	reads    *link  // the one that answers
}

func (x *torture) roamer(rng *rand.Rand) *roamer {
	r := &roamer{subscriber: x.subscriber("roamer", rng), waits: rng.IntN(4) == 0}
	n, patterns := 1, x.patterns
	if r.waits {
		patterns = x.seldom
	}
	if rng.IntN(3) == 0 {
		n += rng.IntN(min(6, len(patterns)))
	}
	for len(r.names) < n {
		if name := patterns[rng.IntN(len(patterns))]; !slices.Contains(r.names, name) {
			r.names = append(r.names, name)
			r.patterns = append(r.patterns, x.parse(name))
		}
	}
	return r
}

func (r *roamer) run() {
	defer r.caughtUp()
	defer r.hangUp()
	for !r.x.isCalm() && !r.over && !r.told {
		r.leg(hostileMood(r.rng))
		pause(r.rng, torturePause)
		if r.over && r.rng.IntN(2) == 0 {
			r.another("back at the end, once").leg(hostileMood(r.rng))
		}
	}
	for !r.over && !r.told && !r.x.failed() {
		r.leg(calm)
	}
}

// another begins where this one is, and does not go on for long.
func (r *roamer) another(kind string) *roamer {
	other := &roamer{subscriber: r.x.subscriber(kind+" "+r.name+",", r.rng), names: r.names, patterns: r.patterns, waits: r.waits, cursor: r.cursor}
	other.probe = true
	return other
}

func (r *roamer) hangUp() {
	if r.link != nil {
		r.link.close()
		r.link = nil
	}
}

// A transport is a way to read.
type transport string

const (
	asSSE      transport = "sse"
	asStream   transport = "stream"
	asLongpoll transport = "longpoll"
	asPoll     transport = "poll"
	asRaw      transport = "raw WebSocket"
	asOps      transport = "duplex.v1"
)

// A request is one that reads.
type request struct {
	as       transport
	begin    begin
	envelope bool
	method   string
	old      bool // HTTP/1.0
	bytes    []byte
}

// leg reads by some transport until something cuts it.
func (r *roamer) leg(m mood) {
	all := []transport{asSSE, asSSE, asStream, asLongpoll, asLongpoll, asPoll, asOps}
	if len(r.names) == 1 {
		all = append(all, asRaw, asRaw)
	}
	if r.waits {
		all = append(all, slices.Repeat([]transport{asLongpoll}, len(all))...)
	}
	q := r.request(all[r.rng.IntN(len(all))], m.isCalm())
	if q.as == asLongpoll && !m.isCalm() && r.rng.IntN(2) == 0 {
		m.life += tortureHold
		if r.waits {
			m.left = -1
		}
	}
	l := r.link
	proxied := r.x.gateway != nil && q.as != asRaw && q.as != asOps && !q.old && r.rng.IntN(2) == 0
	if r.link = nil; l != nil && (r.rng.IntN(8) == 0 || l.proxied != proxied) {
		l.close()
		l = nil
	}
	if l != nil {
		l.feel(m)
	} else {
		var err error
		address := r.x.address
		if proxied {
			address = r.x.gateway.address
			r.x.count("HTTP/2")
		}
		if l, err = r.x.dialTo(address, r.rng, m); err != nil {
			r.told = true
			return
		}
	}
	r.place = 0
	if c, err := topic.ParseCursor(q.begin.asked); err == nil && c.Epoch == r.x.epoch {
		r.place = c.Seq
	}
	q.begin.lo = r.x.end()
	if q.begin.from == fromNow {
		r.place = q.begin.lo
	}
	r.settle(q) // perhaps nothing will come
	first := q.bytes
	var behind *roamer
	var next *request
	if q.as == asLongpoll && !q.old && !m.isCalm() && !proxied && r.rng.IntN(3) == 0 {
		// Pipelined, it asks from the same cursor: so its answer is for another one.
		behind = r.another("pipelined by")
		next = behind.request(all[r.rng.IntN(len(all))], false)
		next.begin.lo = q.begin.lo
		if r.rng.IntN(2) == 0 { // by one write
			first = append(first, next.bytes...)
			next.bytes = nil
		}
	}
	if l.send(first) == errCut {
		l.close()
		return
	}
	if next != nil && next.bytes != nil {
		pause(r.rng, tortureHold)
		if l.send(next.bytes) == errCut {
			l.close()
			return
		}
	}
	kept := r.consume(l, q)
	if kept && behind != nil && !l.halved {
		kept = behind.consume(l, next)
	}
	if kept && !l.halved {
		r.link = l
	} else {
		l.close()
	}
}

// request asks for what the roamer lacks. The last time it does not begin anew,
// and a longpoll waits for long.
func (r *roamer) request(as transport, last bool) *request {
	q := &request{as: as, method: http.MethodGet, begin: begin{patterns: r.patterns, from: fromCursor, asked: r.cursor}}
	if r.cursor == "" || !last && r.rng.IntN(30) == 0 {
		r.cursor = ""
		r.hear(heard{kind: anew})
		q.begin.from, q.begin.asked = r.start()
	}
	if as == asPoll && q.begin.from == fromNow && r.rng.IntN(2) == 0 {
		q.begin.from = fromNewest
	}
	query, header := url.Values{}, ""
	switch {
	case q.begin.from == fromEarliest:
		query.Set("after", "earliest")
	case q.begin.from == fromNow && (as == asPoll || r.rng.IntN(2) == 0):
		query.Set("after", "now")
	case q.begin.from == fromCursor && r.rng.IntN(2) == 0:
		header += "Last-Event-ID: " + q.begin.asked + "\r\n"
		if r.rng.IntN(2) == 0 {
			query.Set("after", "now") // the header wins
		}
	case q.begin.from == fromCursor:
		query.Set("after", q.begin.asked)
	}
	byQuery := r.rng.IntN(2) == 0
	choose := func(field string) {
		if byQuery {
			query.Set("as", string(as))
		} else {
			header += field + "\r\n"
		}
	}
	switch as {
	case asSSE:
		choose("Accept: text/event-stream")
	case asStream:
		choose("Accept: application/x-ndjson")
		q.envelope = true
	case asLongpoll, asPoll:
		q.begin.page, q.begin.limit = true, 1+r.rng.IntN(150)
		q.begin.deaf = true // a page says it in another way
		query.Set("limit", fmt.Sprint(q.begin.limit))
		if as == asLongpoll {
			wait := r.rng.IntN(4)
			if last {
				wait = 30
			}
			if byQuery {
				query.Set("wait", fmt.Sprint(wait))
			} else {
				header += fmt.Sprintf("Prefer: wait=%d\r\n", wait)
			}
		}
	}
	if (as == asSSE || as == asRaw) && r.rng.IntN(2) == 0 {
		q.envelope = true
		query.Set("envelope", "")
	}
	target := ""
	if len(r.names) == 1 && (as == asRaw || r.rng.IntN(2) == 0) {
		target = topicURL(r.names[0], query)
	} else {
		query["topic"] = r.names
		target = "/topics?" + query.Encode()
	}
	switch as {
	case asRaw:
		q.begin.deaf = !q.envelope && !oneTopic(r.patterns)
		q.bytes = handshake(r.rng, target, header)
		return q
	case asOps:
		q.bytes = handshake(r.rng, target, header+"Sec-WebSocket-Protocol: chat, duplex.v1\r\n")
		return q
	}
	version := "1.1"
	if q.old = r.rng.IntN(8) == 0; q.old {
		version = "1.0"
	}
	if strings.HasPrefix(target, "/topics?") && q.begin.from != fromNewest && r.rng.IntN(3) == 0 {
		q.method = "QUERY"
		if r.rng.IntN(2) == 0 {
			q.method = http.MethodPost
		}
		body := url.Values{"topic": query["topic"]}.Encode()
		query.Del("topic")
		q.bytes = fmt.Appendf(nil, "%s /topics?%s HTTP/%s\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n%s\r\n%s",
			q.method, query.Encode(), version, len(body), header, body)
		return q
	}
	q.bytes = fmt.Appendf(nil, "GET %s HTTP/%s\r\nHost: localhost\r\n%s\r\n", target, version, header)
	return q
}

// consume takes the answer, and reports whether the link may be used again.
func (r *roamer) consume(l *link, q *request) (kept bool) {
	r.reads = l
	r.x.count(string(q.as))
	if q.as == asRaw || q.as == asOps {
		r.socket(l, q)
		return false
	}
	resp, err := l.answer(q.method)
	q.begin.hi = r.x.end()
	if err != nil {
		r.lost(l, q, err)
		return false
	}
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable && r.x.stopping.Load():
		r.told = true
		return false
	case resp.StatusCode == http.StatusNoContent && !q.begin.page:
		r.connected(l, q)
		r.ended()
		return !resp.Close
	case resp.StatusCode == http.StatusRequestTimeout && q.method != http.MethodGet && !r.x.patient: // the body came too slowly
		return false
	case resp.StatusCode != http.StatusOK:
		body, _ := io.ReadAll(resp.Body) // it is shown only
		r.errorf("%q: %s %s", q.bytes, resp.Status, body)
		r.told = true
		return false
	case q.begin.page:
		return r.page(l, q, resp)
	}
	r.follow(l, q, resp)
	return false
}

func (r *roamer) connected(l *link, q *request) {
	mood := "calm"
	if !l.isCalm() {
		mood = fmt.Sprintf("%s after %d bytes or %v, reads %d, stalls %d", l.cut, l.left, l.life, l.step, l.stalls)
	}
	r.hear(heard{kind: connected, note: fmt.Sprintf("%s (envelope %v, %s), %s, local address %v", q.as, q.envelope, q.method, mood, l.LocalAddr())})
	if q.as != asOps {
		r.hear(heard{kind: began, begin: &q.begin})
	} else {
		for i, p := range r.patterns {
			b := q.begin
			b.name, b.patterns = r.names[i], []topic.Pattern{p}
			r.hear(heard{kind: began, topic: b.name, begin: &b})
		}
	}
}

// lost judges an end that the protocol does not name.
func (r *roamer) lost(l *link, q *request, err error) {
	switch {
	case l.cause == errStuck && r.isHeldUp():
		r.told = true
	case !l.lost(err):
		want := uint64(0)
		if r.x.isCalm() {
			want = r.x.truth.last(r.patterns, !q.begin.deaf)
		}
		r.errorf("by %s, at %d (the last is %d) after %d bytes: %v", q.as, r.place, want, l.read, err)
		r.told = true
	default:
		r.told = r.x.stopping.Load()
	}
}

// ended notes the end of the only topic, before which everything was heard.
func (r *roamer) ended() {
	r.hear(heard{kind: atEnd})
	r.over = true
}

// took goes on from what was heard.
func (r *roamer) took(q *request, h heard, id string) {
	r.hear(h)
	switch {
	case h.kind == gapped && q.as == asOps && len(r.names) > 1:
		return // "Events of another may still come before it" (PROTOCOL.md §8.6)
	case h.kind == ended && oneTopic(r.patterns) && q.as == asOps:
		r.over = true
	case h.kind == ended && oneTopic(r.patterns): // the connection is to be closed, too
		r.reads.feel(calm)
	}
	if id != "" {
		r.cursor = id
	}
	seq := h.cursor.Seq
	if h.kind == event {
		seq = h.seq
	}
	r.place = max(r.place, seq)
	r.settle(q)
}

// settle finds out whether there is nothing more to come.
func (r *roamer) settle(q *request) {
	if r.x.isCalm() && r.x.truth.endOf(r.patterns) == 0 && r.place >= r.x.truth.last(r.patterns, !q.begin.deaf) {
		r.caughtUp()
	}
}

var farewell = regexp.MustCompile(`(^|\n)retry: [0-9]+\n\n$`)

// follow reads an answer without an end.
func (r *roamer) follow(l *link, q *request, resp *http.Response) {
	r.connected(l, q)
	var parser sse.Parser
	var rest, tail []byte
	buf := make([]byte, 4<<10)
	for {
		n, err := resp.Body.Read(buf)
		chunk := buf[:n]
		tail = append(tail, chunk...)
		tail = tail[max(0, len(tail)-100):]
		if q.as == asSSE {
			if !r.blocks(q, &parser, chunk) {
				return
			}
		} else if !r.lines(q, &rest, chunk) {
			return
		}
		if err == nil {
			continue
		}
		last := r.heard[len(r.heard)-1]
		switch {
		case err == io.EOF && last.kind == ended && oneTopic(r.patterns) && len(rest) == 0:
			r.over = true
		case err == io.EOF && r.x.stopping.Load() && !l.halved:
			r.told = true
			if r.x.patient && (len(rest) > 0 || q.as == asSSE && !farewell.Match(tail)) {
				r.errorf("the last words by %s: %q, left %q", q.as, tail, rest)
			}
		case err == io.EOF && (l.halved || !r.x.patient): // "The end" of who is too slow
		default:
			r.lost(l, q, err)
		}
		return
	}
}

// blocks takes a part of an event stream.
func (r *roamer) blocks(q *request, p *sse.Parser, chunk []byte) bool {
	for e, err := range p.Feed(chunk) {
		var h heard
		var ok bool
		id := e.ID
		switch {
		case err != nil:
			r.errorf("%v", err)
		case q.envelope:
			h, id, ok = r.envelope(e.Data)
			if ok && id != e.ID {
				r.errorf("the block's id is %q, the envelope's %q", e.ID, id)
			}
		default:
			h, ok = r.block(e.ID, e.Type, e.Data)
		}
		if !ok {
			r.told = true
			return false
		}
		r.took(q, h, id)
	}
	return true
}

// lines takes a part of a stream of lines; rest is the last one, not complete.
func (r *roamer) lines(q *request, rest *[]byte, chunk []byte) bool {
	for {
		part, after, found := bytes.Cut(chunk, []byte("\n"))
		*rest = append(*rest, part...)
		if !found {
			return true
		}
		h, id, ok := r.envelope(*rest)
		if !ok {
			r.told = true
			return false
		}
		r.took(q, h, id)
		*rest, chunk = (*rest)[:0], after
	}
}

// page reads a page, and reports whether the link may be used again.
func (r *roamer) page(l *link, q *request, resp *http.Response) bool {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.lost(l, q, err)
		return false
	}
	var page struct {
		Events []json.RawMessage
		Cursor string
		More   bool
		Gap    *struct{ After, Oldest string }
		End    bool
	}
	if err := json.Unmarshal(body, &page); err != nil {
		r.errorf("%v: %.200q", err, body)
		r.told = true
		return false
	}
	r.connected(l, q)
	cursor, err := topic.ParseCursor(page.Cursor)
	if got := resp.Header.Get("ETag"); err != nil || got != `"`+page.Cursor+`"` {
		r.errorf("the page's cursor is %q, its tag %s", page.Cursor, got)
	}
	if page.Gap != nil {
		oldest, err := topic.ParseCursor(page.Gap.Oldest)
		if err != nil && page.Gap.Oldest != "" {
			r.errorf("the oldest is %q", page.Gap.Oldest)
		}
		r.hear(heard{kind: gapped, after: page.Gap.After, oldest: oldest.Seq})
	}
	for _, line := range page.Events {
		h, _, ok := r.envelope(line)
		if !ok {
			r.told = true
			return false
		}
		r.hear(h)
	}
	r.x.keepCursor(r.rng, page.Cursor)
	if q.as == asLongpoll && len(page.Events) == 0 && page.Gap == nil && !page.End && resp.Header.Get("Preference-Applied") == "" {
		r.errorf("an empty page without Preference-Applied")
	}
	r.took(q, heard{kind: paged, cursor: cursor, more: page.More}, page.Cursor)
	if page.End {
		r.ended()
	}
	kept := !resp.Close && !q.old
	if resp.Close && r.x.stopping.Load() {
		r.told = true
	}
	if kept && r.x.isCalm() && !page.More && q.begin.lo >= r.x.final() && !r.over {
		// There is nothing after this page, even if its cursor is before another's event.
		r.caughtUp()
		if q.as == asPoll && l.isCalm() && r.rng.IntN(4) > 0 {
			// A link that waits for a request: it is closed when the server stops.
			err := l.hungUp()
			early := !r.x.stopping.Load() && r.x.patient
			if (err != nil || early) && !(l.cause == errStuck && r.isHeldUp()) {
				r.errorf("a link that waited was not hung up in order (too early: %v): %v", early, err)
			}
			r.told = true
			return false
		}
	}
	return kept
}

// socket reads a WebSocket.
func (r *roamer) socket(l *link, q *request) {
	s, status, err := l.upgrade()
	q.begin.hi = r.x.end()
	switch {
	case s != nil:
	case err != nil:
		r.lost(l, q, err)
		return
	default:
		if r.told = true; status != http.StatusServiceUnavailable || !r.x.stopping.Load() {
			r.errorf("%q: %d", q.bytes, status)
		}
		return
	}
	r.connected(l, q)
	for err == nil && !(r.over && l.isCalm()) {
		var opcode wire.Opcode
		var message []byte
		if opcode, message, err = s.next(); err != nil {
			break
		}
		var h heard
		var id string
		var ok bool
		if q.as == asOps || q.envelope {
			if opcode != wire.Text {
				r.errorf("%v message", opcode)
			}
			h, id, ok = r.envelope(message)
		} else {
			kind := topic.Text
			if opcode == wire.Binary {
				kind = topic.Binary
			}
			h, id, ok = r.message(kind, message)
		}
		if !ok {
			r.told = true
			break
		}
		r.took(q, h, id)
		if r.rng.IntN(50) == 0 && !l.halved {
			s.say(wire.Ping, []byte(id))
		}
	}
	s.end(err)
	end, ok := errors.AsType[*closed](err)
	switch {
	case !ok && err != nil:
		r.lost(l, q, err)
	case err == nil:
	case end.code == wire.CloseNormal && end.reason == "end" && q.as == asRaw && oneTopic(r.patterns):
		r.ended()
	case end.code == closeGap && q.as == asRaw && !q.envelope:
		oldest, err := topic.ParseCursor(end.reason)
		if err != nil && end.reason != "" {
			r.errorf("%v", end)
		}
		r.hear(heard{kind: closedGap, oldest: oldest.Seq})
	case end.code == closeTooSlow && end.reason == "too-slow" && !r.x.patient:
		r.x.count("too slow")
	case end.code == wire.CloseGoingAway && end.reason == "shutting-down" && r.x.stopping.Load():
		r.told = true
	default:
		r.errorf("%s: %v", q.as, end)
		r.told = true
	}
}
