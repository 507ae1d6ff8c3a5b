package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/websocket/wire"
)

// A fate is what a publisher knows of what it has sent.
type fate string

const (
	unknown fate = "unknown" // no answer came
	stored  fate = "stored"
	refused fate = "refused"
)

// A submission is what was sent to be stored together.
type submission struct {
	topic  string
	drafts []*draft
	end    bool // of the topic, after the drafts
	key    string
	fate   fate
	first  uint64 // seq of the first draft, if it was told
}

// A session is what one connection has sent.
type session struct {
	how         string
	submissions []*submission
}

// A publisher publishes in all the ways that there are.
type publisher struct {
	x    *torture
	rng  *rand.Rand
	keys int
	link *link // kept alive between requests; nil if there is none
	ends bool  // a topic, for sure
}

func (p *publisher) run(steps int) {
	defer p.hangUp()
	for step := range steps {
		p.x.witness.room()
		if p.x.stopping.Load() {
			return
		}
		if p.ends && step == steps/2 {
			p.end("end/0")
		}
		switch p.rng.IntN(12) {
		case 0, 1, 2, 3:
			p.post(1, false)
		case 4, 5:
			p.post(1+p.rng.IntN(25), true)
		case 6:
			p.pipeline()
		case 7, 8:
			p.ops()
		case 9, 10:
			p.messages()
		case 11:
			if name := p.x.topics[p.rng.IntN(len(p.x.topics))]; p.mayEnd(name) {
				p.end(name)
			}
		}
		pause(p.rng, torturePause)
	}
}

// seldom publishes now and then, for those who wait.
func (p *publisher) seldom() {
	defer p.hangUp()
	for begun := time.Now(); time.Since(begun) < 2*tortureHold && !p.x.stopping.Load(); {
		name := []string{"seldom/0", "seldom/1/y"}[p.rng.IntN(2)]
		s := &submission{topic: name, drafts: []*draft{p.x.draft(p.rng, name, anyMedium)}, fate: unknown, key: p.newKey()}
		p.x.note("POST", s)
		for request := p.request(s, false); s.fate == unknown && !p.x.stopping.Load(); {
			_ = p.try(s, request, false) // it is told of
		}
		time.Sleep(time.Duration(p.rng.Int64N(int64(tortureHold))))
	}
}

func (p *publisher) hangUp() {
	if p.link != nil {
		p.link.close()
		p.link = nil
	}
}

// note keeps what was sent by one connection, for the checker.
func (x *torture) note(how string, submissions ...*submission) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sessions = append(x.sessions, session{how, submissions})
}

func (p *publisher) submission(n int, m medium) *submission {
	s := &submission{topic: p.x.topics[p.rng.IntN(len(p.x.topics))], fate: unknown}
	for range n {
		s.drafts = append(s.drafts, p.x.draft(p.rng, s.topic, m))
	}
	return s
}

func (p *publisher) newKey() string {
	p.keys++
	return fmt.Sprintf("%d %d", p.rng.Uint32(), p.keys)
}

// post publishes by a request, mostly with a key. Then it is repeated until it
// is answered.
func (p *publisher) post(n int, batch bool) {
	m := anyMedium
	if batch {
		m = jsonOrString
	}
	s := p.submission(n, m)
	if p.rng.IntN(4) > 0 {
		s.key = p.newKey()
	}
	s.end = !batch && p.mayEnd(s.topic)
	p.x.note("POST", s)
	request := p.request(s, batch)
	for tries := 0; s.fate == unknown && !p.x.stopping.Load(); tries++ {
		hostile := p.rng.IntN(3) == 0 && tries < 5
		if err := p.try(s, request, hostile); err != nil && s.key == "" {
			return
		}
	}
}

// mayEnd reports whether the topic shall end now. Topics below "end" do.
func (p *publisher) mayEnd(name string) bool {
	return strings.HasPrefix(name, "end/") && p.rng.IntN(10) == 0
}

// request writes the submission as HTTP.
func (p *publisher) request(s *submission, batch bool) []byte {
	query := url.Values{}
	header := ""
	var body []byte
	if batch {
		query.Set("batch", "")
		header = "Content-Type: application/x-ndjson\r\n"
		lines := make([][]byte, len(s.drafts))
		for i, d := range s.drafts {
			lines[i] = d.object("")
		}
		body = bytes.Join(lines, []byte("\n"))
		if p.rng.IntN(2) == 0 {
			header = "Content-Type: application/json\r\n"
			body = slices.Concat([]byte("["), bytes.Join(lines, []byte(",")), []byte("]"))
		}
	} else {
		d := s.drafts[0]
		body = d.data
		if d.event != "" {
			query.Set("event", d.event)
		}
		if s.end {
			query.Set("end", "1")
		}
		header = "Content-Type: " + d.media + "\r\n"
	}
	if s.key != "" {
		header += "Idempotency-Key: \"" + s.key + "\"\r\n"
	}
	b := fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: localhost\r\n%s", topicURL(s.topic, query), header)
	if p.rng.IntN(4) == 0 && len(body) > 0 { // in chunks
		b = append(b, "Transfer-Encoding: chunked\r\n\r\n"...)
		for len(body) > 0 {
			n := 1 + p.rng.IntN(len(body))
			b = fmt.Appendf(b, "%x\r\n%s\r\n", n, body[:n])
			body = body[n:]
		}
		return append(b, "0\r\n\r\n"...)
	}
	return append(fmt.Appendf(b, "Content-Length: %d\r\n\r\n", len(body)), body...)
}

// topicURL is the path of a topic or pattern.
func topicURL(name string, query url.Values) string {
	segments := strings.Split(name, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	path := "/topics/" + strings.Join(segments, "/")
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// object is the draft as a member of a batch, or with what else a publish has.
func (d *draft) object(members string) []byte {
	b := append([]byte("{"), members...)
	if d.event != "" {
		event, err := json.Marshal(d.event)
		if err != nil {
			panic(err)
		}
		b = fmt.Appendf(b, `"event":%s,`, event)
	}
	if d.kind == topic.JSON {
		return fmt.Appendf(b, `"data":%s}`, d.data)
	}
	text, err := json.Marshal(string(d.data))
	if err != nil {
		panic(err)
	}
	return fmt.Appendf(b, `"data":%s}`, text)
}

// try sends the request once, and takes the answer.
func (p *publisher) try(s *submission, request []byte, hostile bool) error {
	m := calm
	if hostile {
		p.hangUp()
		m = hostileMood(p.rng)
		m.left, m.stalls = p.rng.IntN(200), 0
	}
	if p.link == nil {
		var err error
		if p.link, err = p.x.dial(p.rng, m); err != nil {
			return err
		}
	}
	err := p.link.send(request)
	if err == errCut {
		p.hangUp()
		return err
	}
	if hostile && p.rng.IntN(4) == 0 {
		p.link.halve()
	}
	resp, body, err := p.link.whole(http.MethodPost)
	if err != nil {
		if !p.link.lost(err) {
			p.x.errorf("POST %s: %v", s.topic, err)
		}
		p.hangUp()
		return err
	}
	if resp.Close || hostile {
		p.hangUp()
	}
	p.take(s, resp.StatusCode, body)
	return nil
}

// take takes the answer to a submission.
func (p *publisher) take(s *submission, status int, body []byte) {
	var answer struct {
		ID   string
		IDs  []string
		Type string
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		p.x.errorf("POST %s: %d %q", s.topic, status, body)
		return
	}
	switch {
	case status == http.StatusCreated:
		ids := answer.IDs
		if answer.ID != "" {
			ids = append(ids, answer.ID)
		}
		p.accepted(s, ids)
	case status == http.StatusConflict && answer.Type == "urn:duplex:problem:topic-ended":
		s.fate = refused
	case status == http.StatusConflict && answer.Type == "urn:duplex:problem:key-in-progress":
	case status == http.StatusServiceUnavailable && p.x.stopping.Load():
	case status == http.StatusRequestTimeout && answer.Type == "urn:duplex:problem:too-slow" && !p.x.patient: // nothing is stored
	default:
		p.x.errorf("POST %s: %d %s", s.topic, status, body)
		s.fate = refused
	}
}

// accepted notes the ids of a submission.
func (p *publisher) accepted(s *submission, ids []string) {
	s.fate = stored
	for i, text := range ids {
		c, err := topic.ParseCursor(text)
		if i == 0 {
			s.first = c.Seq
		}
		if err != nil || c.Seq != s.first+uint64(i) {
			p.x.errorf("%d events for %s have the ids %v", len(s.drafts), s.topic, ids)
		}
	}
	if len(ids) != len(s.drafts) {
		p.x.errorf("%d events for %s have the ids %v", len(s.drafts), s.topic, ids)
	}
}

// pipeline sends several requests at once: they are stored in that order.
func (p *publisher) pipeline() {
	p.hangUp()
	m := calm
	if p.rng.IntN(3) == 0 {
		m = hostileMood(p.rng)
	}
	var requests []byte
	var submissions []*submission
	for range 2 + p.rng.IntN(5) {
		s := p.submission(1, anyMedium)
		submissions = append(submissions, s)
		requests = append(requests, p.request(s, false)...)
	}
	p.x.note("pipelined POST", submissions...)
	l, err := p.x.dial(p.rng, m)
	if err != nil {
		return
	}
	defer l.close()
	// The answers are small: the server is never kept from reading.
	if err := l.send(requests); err == errCut {
		return
	}
	for _, s := range submissions {
		resp, body, err := l.whole(http.MethodPost)
		if err != nil {
			if !l.lost(err) {
				p.x.errorf("pipelined POST %s: %v", s.topic, err)
			}
			return
		}
		p.take(s, resp.StatusCode, body)
		if resp.Close {
			return // after a body in chunks, of whose length there may be two opinions (PROTOCOL.md §5.16)
		}
	}
}

// end ends a topic.
func (p *publisher) end(name string) {
	s := &submission{topic: name, end: true, fate: unknown}
	p.x.note("DELETE", s)
	p.hangUp()
	l, err := p.x.dial(p.rng, calm)
	if err != nil {
		return
	}
	defer l.close()
	if err := l.send([]byte("DELETE " + topicURL(s.topic, nil) + " HTTP/1.1\r\nHost: localhost\r\n\r\n")); err == errCut {
		return
	}
	resp, _, err := l.whole(http.MethodDelete)
	switch {
	case err != nil:
		if !l.lost(err) {
			p.x.errorf("DELETE %s: %v", s.topic, err)
		}
	case resp.StatusCode == http.StatusNoContent:
		s.fate = stored
	case resp.StatusCode == http.StatusServiceUnavailable && p.x.stopping.Load():
	default:
		p.x.errorf("DELETE %s: %s", s.topic, resp.Status)
	}
}

// messages publishes over a WebSocket without a subprotocol. When the server
// has answered the close that follows, it has taken them all.
func (p *publisher) messages() {
	name := p.x.topics[p.rng.IntN(len(p.x.topics))]
	m := calm
	if p.rng.IntN(2) == 0 {
		m = hostileMood(p.rng)
	}
	var submissions []*submission
	for range 1 + p.rng.IntN(30) {
		d := p.x.draft(p.rng, name, textOrBytes)
		submissions = append(submissions, &submission{topic: name, drafts: []*draft{d}, fate: unknown})
	}
	p.x.note("raw WebSocket", submissions...)
	l, err := p.x.dial(p.rng, m)
	if err != nil {
		return
	}
	query := url.Values{}
	if p.rng.IntN(2) == 0 {
		query.Set("envelope", "")
	}
	var socket *socket
	var status int
	if err = l.send(handshake(p.rng, topicURL(name, query), "")); err != errCut {
		socket, status, err = l.upgrade()
	}
	if err != nil || socket == nil {
		p.x.failedUpgrade(l, name, status, err)
		return
	}
	for _, s := range submissions {
		d := s.drafts[0]
		opcode := wire.Text
		if d.kind == topic.Binary {
			opcode = wire.Binary
		}
		socket.say(opcode, d.data)
	}
	socket.sayClose(wire.CloseNormal)
	for err == nil {
		_, _, err = socket.next()
	}
	socket.end(err)
	end, ok := errors.AsType[*closed](err)
	switch {
	case !ok:
		if !l.lost(err) {
			p.x.errorf("%d messages by raw WebSocket to %s?%s (%+v), %d bytes received: %v", len(submissions), name, query.Encode(), m, l.read, err)
		}
	case end.code == wire.CloseNormal && end.reason == "":
		for _, s := range submissions {
			// A refusal and the answer to our close race.
			if !strings.HasPrefix(name, "end/") {
				s.fate = stored
			}
		}
	case end.code == wire.CloseNormal && end.reason == "end",
		end.code == wire.ClosePolicyViolation && end.reason == "topic-ended",
		end.code == closeGap, end.code == closeTooSlow && !p.x.patient,
		end.code == wire.CloseGoingAway && p.x.stopping.Load():
	default:
		p.x.errorf("raw WebSocket to %s: %v", name, end)
	}
}

// Codes of PROTOCOL.md §8.8.
const closeTooSlow, closeGap wire.CloseCode = 4408, 4410

// failedUpgrade judges what came instead of a 101, and closes the link.
func (x *torture) failedUpgrade(l *link, name string, status int, err error) {
	defer l.close()
	switch {
	case err == nil && status == http.StatusServiceUnavailable && x.stopping.Load():
	case err == nil:
		x.errorf("handshake for %s: %d", name, status)
	case !l.lost(err):
		x.errorf("handshake for %s: %v", name, err)
	}
}

// ops publishes over duplex.v1, with keys until everything is answered.
func (p *publisher) ops() {
	var open []*submission
	keyed := p.rng.IntN(3) > 0
	for range 1 + p.rng.IntN(30) {
		s := p.submission(1, jsonOrString)
		if keyed {
			s.key = p.newKey()
		}
		open = append(open, s)
	}
	p.x.note("duplex.v1", open...)
	for tries := 0; len(open) > 0 && !p.x.stopping.Load(); tries++ {
		m := calm
		if p.rng.IntN(2) == 0 && tries < 5 {
			m = hostileMood(p.rng)
		}
		open = p.say(m, open)
		if !keyed {
			return
		}
	}
}

// say sends publish ops and returns those that were not answered.
func (p *publisher) say(m mood, open []*submission) []*submission {
	l, err := p.x.dial(p.rng, m)
	if err != nil {
		return open
	}
	var socket *socket
	var status int
	if err = l.send(handshake(p.rng, "/topics", "Sec-WebSocket-Protocol: duplex.v1\r\n")); err != errCut {
		socket, status, err = l.upgrade()
	}
	if err != nil || socket == nil {
		p.x.failedUpgrade(l, "duplex.v1", status, err)
		return open
	}
	for _, s := range open {
		socket.say(wire.Text, s.op(s.drafts[0].ref()))
	}
	for len(open) > 0 {
		var message []byte
		if _, message, err = socket.next(); err != nil {
			break
		}
		var answer answer
		if err := json.Unmarshal(message, &answer); err != nil {
			p.x.errorf("duplex.v1: %q", message)
		}
		if answer.Op == "" {
			continue // a signal
		}
		i := slices.IndexFunc(open, func(s *submission) bool { return s.drafts[0].ref() == answer.Ref })
		if i < 0 {
			p.x.errorf("duplex.v1: nothing was asked that this answers: %s", message)
			continue
		}
		p.answered(open[i], answer, message)
		open = slices.Delete(slices.Clone(open), i, i+1)
	}
	if err == nil {
		socket.sayClose(wire.CloseNormal)
		for err == nil {
			_, _, err = socket.next()
		}
	}
	if end, ok := errors.AsType[*closed](err); ok {
		if end.code != wire.CloseNormal && !(end.code == wire.CloseGoingAway && p.x.stopping.Load()) {
			p.x.errorf("duplex.v1: %v", end)
		}
	} else if !l.lost(err) {
		p.x.errorf("duplex.v1, %d ops are not answered: %v", len(open), err)
	}
	socket.end(err)
	return open
}

// An answer is what answers an op of duplex.v1.
type answer struct {
	Op     string
	Ref    int
	ID     string
	Status int
	Type   string
}

// op is the submission as a message of duplex.v1.
func (s *submission) op(ref int) []byte {
	name, err := json.Marshal(s.topic)
	if err != nil {
		panic(err)
	}
	members := fmt.Sprintf(`"op":"publish","ref":%d,"topic":%s,`, ref, name)
	if s.key != "" {
		members += fmt.Sprintf(`"key":"%s",`, s.key)
	}
	return s.drafts[0].object(members)
}

// answered takes the answer to a publish op.
func (p *publisher) answered(s *submission, a answer, message []byte) {
	switch {
	case a.Op == "ok":
		p.accepted(s, []string{a.ID})
	case a.Op == "error" && a.Status == http.StatusConflict && a.Type == "urn:duplex:problem:topic-ended":
		s.fate = refused
	default:
		s.fate = refused
		p.x.errorf("publish over duplex.v1: %s", message)
	}
}

// checkPublished compares what was acknowledged with what is in the log.
func (x *torture) checkPublished(tr *truth) {
	places := make(map[int]fact)
	ends := make(map[string]uint64)
	for _, f := range tr.facts {
		if f.end {
			ends[f.topic] = f.seq
		} else {
			places[f.token] = f
		}
	}
	tried := make(map[string]bool) // to end
	for _, session := range x.sessions {
		last, hole := uint64(0), false
		for _, s := range session.submissions {
			tried[s.topic] = tried[s.topic] || s.end
			seqs := x.placesOf(s, places)
			for i, seq := range seqs {
				if seq != seqs[0]+uint64(i) {
					x.errorf("%s to %s, not contiguous in the log: %v", session.how, s.topic, seqs)
				}
			}
			there := len(seqs) > 0
			switch {
			case there && len(seqs) != len(s.drafts):
				x.errorf("%s to %s: %d of %d events are in the log", session.how, s.topic, len(seqs), len(s.drafts))
			case s.fate == refused && there:
				x.errorf("%s to %s was refused, but is in the log as %v", session.how, s.topic, seqs)
			case s.fate == stored && !there && len(s.drafts) > 0 && !x.abrupt:
				x.errorf("%s to %s was acknowledged as %d, but is not in the log", session.how, s.topic, s.first)
			case s.fate == stored && there && s.first != 0 && s.first != seqs[0]:
				x.errorf("%s to %s was acknowledged as %d, but is %d", session.how, s.topic, s.first, seqs[0])
			case s.fate == stored && s.end && ends[s.topic] == 0 && !x.abrupt:
				x.errorf("%s to %s was acknowledged, but the topic did not end", session.how, s.topic)
			case there && s.end && ends[s.topic] != seqs[len(seqs)-1]+1:
				x.errorf("%s to %s: the topic did not end with its last event %v", session.how, s.topic, seqs)
			}
			if !there {
				hole = hole || s.fate == unknown && ends[s.topic] == 0 // else it would have been refused
				continue
			}
			if seqs[0] < last || hole {
				x.errorf("%s: the event %d of %s is not stored in the order sent (after %d, something before it is missing: %v)", session.how, seqs[0], s.topic, last, hole)
			}
			last = seqs[len(seqs)-1]
		}
	}
	for name := range ends {
		if !tried[name] {
			x.errorf("nobody ended %s", name)
		}
	}
}

// placesOf returns where the events of a submission are.
func (x *torture) placesOf(s *submission, places map[int]fact) []uint64 {
	var seqs []uint64
	for _, d := range s.drafts {
		if f, ok := places[d.token]; ok {
			seqs = append(seqs, f.seq)
		}
	}
	return seqs
}
