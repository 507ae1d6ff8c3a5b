package server_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/websocket/wire"
)

// A mover has duplex.v1 connections on which it subscribes and unsubscribes all
// the time. It keeps a cursor for each subscription (PROTOCOL.md §8.6).
type mover struct {
	*subscriber
	cursors map[string]topic.Cursor // where each subscription would go on
	refs    int
	asked   map[int]*op    // not answered yet, by ref
	last    map[string]int // ref of the last op on a topic that was answered
	told    bool
}

// An op is one that is on its way.
type op struct {
	name       string
	topic      string
	begin      *begin      // of a subscribe
	submission *submission // of a publish
	text       []byte
}

func (x *torture) mover(rng *rand.Rand) *mover {
	return &mover{subscriber: x.subscriber("mover", rng), cursors: make(map[string]topic.Cursor)}
}

func (m *mover) run() {
	defer m.caughtUp()
	for !m.x.isCalm() && !m.told {
		mood := hostileMood(m.rng)
		mood.life *= 2
		m.leg(mood)
		pause(m.rng, torturePause)
	}
	for !m.told && !m.x.failed() {
		m.leg(calm)
	}
}

func (m *mover) leg(mood mood) {
	m.asked, m.last = make(map[int]*op), make(map[string]int)
	l, err := m.x.dial(m.rng, mood)
	if err != nil {
		m.told = true
		return
	}
	defer l.close()
	target, first := "/topics", m.firsts()
	if len(first) > 0 {
		query := url.Values{"topic": nil}
		for _, b := range first {
			query["topic"] = append(query["topic"], b.name)
			b.lo = m.x.end()
			if b.from == fromEarliest {
				query.Set("after", "earliest")
			} else if b.from == fromCursor {
				query.Set("after", b.asked)
			}
		}
		target += "?" + query.Encode()
	}
	if l.send(handshake(m.rng, target, "Sec-WebSocket-Protocol: duplex.v1\r\n")) == errCut {
		return
	}
	s, status, err := l.upgrade()
	if s == nil {
		m.told = m.x.stopping.Load()
		switch {
		case err == nil && !(status == http.StatusServiceUnavailable && m.told):
			m.errorf("%s: %d", target, status)
			m.told = true
		case err != nil && !l.lost(err):
			m.errorf("%s: %v", target, err)
			m.told = true
		}
		return
	}
	m.x.count("moving duplex.v1")
	m.hear(heard{kind: connected, note: fmt.Sprintf("%s, %+v, local address %v", target, mood, l.LocalAddr())})
	for _, b := range first {
		b.hi = m.x.end()
		m.cursors[b.name] = topic.Cursor{ID: topic.ID{Epoch: m.x.epoch}} // until it is told
		m.hear(heard{kind: began, topic: b.name, begin: b})
	}
	for _, name := range slices.Sorted(maps.Keys(m.cursors)) {
		if !slices.ContainsFunc(first, func(b *begin) bool { return b.name == name }) {
			m.subscribe(s, name, fromCursor, m.cursors[name].String())
		}
	}
	if !mood.isCalm() {
		l.tick = time.Millisecond + time.Duration(m.rng.Int64N(int64(tortureStall)))
	}
	for err == nil {
		var message []byte
		_, message, err = s.next()
		switch {
		case err == errTick:
			err = nil
			m.act(s)
		case err == nil && !m.take(message):
			err, m.told = errStuck, true
		case err == nil && !mood.isCalm() && m.rng.IntN(20) == 0:
			m.act(s)
		}
		if mood.isCalm() {
			m.settle()
		}
	}
	s.end(err)
	end, ok := errors.AsType[*closed](err)
	switch {
	case m.told:
	case l.cause == errStuck && m.isHeldUp():
		m.told = true
	case ok && end.code == wire.CloseGoingAway && end.reason == "shutting-down" && m.x.stopping.Load():
		m.told = true
	case ok && end.code == closeTooSlow && end.reason == "too-slow" && !m.x.patient:
	case ok:
		m.errorf("%v", end)
		m.told = true
	case !l.lost(err):
		m.errorf("%v; not answered: %v; lacking: %v", err, m.open(), m.lacking())
		m.told = true
	default:
		m.told = m.x.stopping.Load()
	}
}

// firsts are subscriptions that a connection begins with, sometimes.
func (m *mover) firsts() (firsts []*begin) {
	if len(m.cursors) > 0 || m.rng.IntN(2) == 0 {
		return nil
	}
	from, asked := m.start()
	for range 1 + m.rng.IntN(4) {
		name := m.x.patterns[m.rng.IntN(len(m.x.patterns))]
		if !slices.ContainsFunc(firsts, func(b *begin) bool { return b.name == name }) {
			firsts = append(firsts, &begin{name: name, patterns: []topic.Pattern{m.x.parse(name)}, from: from, asked: asked})
		}
	}
	return firsts
}

// open lists what was not answered.
func (m *mover) open() (ops []string) {
	for _, o := range m.asked {
		ops = append(ops, string(o.text))
	}
	return ops
}

// act does something.
func (m *mover) act(s *socket) {
	if s.halved {
		return
	}
	for range 1 + m.rng.IntN(3) {
		name := m.x.patterns[m.rng.IntN(len(m.x.patterns))]
		if held := slices.Sorted(maps.Keys(m.cursors)); len(held) > 0 && m.rng.IntN(2) == 0 {
			name = held[m.rng.IntN(len(held))]
		}
		switch m.rng.IntN(10) {
		case 0, 1, 2, 3:
			from, asked := m.start()
			m.subscribe(s, name, from, asked)
		case 4, 5:
			m.send(s, &op{name: "unsubscribe", topic: name}, "")
		case 6, 7:
			m.publish(s)
		case 8:
			m.send(s, &op{name: "ping"}, "")
		default:
			s.say(wire.Ping, []byte(name))
		}
	}
}

func (m *mover) subscribe(s *socket, name string, from from, asked string) {
	o := &op{name: "subscribe", topic: name, begin: &begin{name: name, patterns: []topic.Pattern{m.x.parse(name)}, from: from, asked: asked, lo: m.x.end()}}
	after := asked
	switch {
	case from == fromEarliest:
		after = "earliest"
	case from == fromNow && m.rng.IntN(2) == 0:
		after = "now"
	}
	m.send(s, o, after)
}

func (m *mover) send(s *socket, o *op, after string) {
	m.refs++
	message := map[string]any{"op": o.name, "ref": m.refs}
	if o.topic != "" {
		message["topic"] = o.topic
	}
	if after != "" {
		message["after"] = after
	}
	text, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	m.say(s, o, m.refs, text)
}

func (m *mover) say(s *socket, o *op, ref int, text []byte) {
	if s.say(wire.Text, text) {
		o.text = text
		m.asked[ref] = o
		if o.topic != "" {
			m.hear(heard{kind: leaving, topic: o.topic})
		}
	}
}

// publish publishes what the mover itself may be subscribed to.
func (m *mover) publish(s *socket) {
	if m.x.isCalm() {
		return
	}
	m.x.witness.room()
	p := &publisher{x: m.x, rng: m.rng}
	sub := p.submission(1, jsonOrString)
	m.x.note("moving duplex.v1", sub)
	m.refs++
	text := sub.op(m.refs)
	m.say(s, &op{name: "publish", submission: sub}, m.refs, text)
}

// take takes a message of the server.
func (m *mover) take(message []byte) bool {
	if bytes.HasPrefix(message, []byte(`{"op":`)) {
		return m.answered(message)
	}
	h, id, ok := m.envelope(message)
	if !ok {
		return false
	}
	m.hear(h)
	switch h.kind {
	case pinged:
		if id != "" {
			for name := range m.cursors {
				m.advance(name, h.cursor)
			}
		}
	case gapped:
		if _, ok := m.cursors[h.topic]; ok {
			m.advance(h.topic, h.cursor)
		}
	case event, ended:
		at := topic.Cursor{ID: topic.ID{Epoch: m.x.epoch, Seq: h.seq}}
		name := h.topic
		if h.kind == event {
			m.x.mu.Lock()
			name = m.x.drafts[h.token].topic
			m.x.mu.Unlock()
		}
		for pattern := range m.cursors {
			if m.x.parse(pattern).Match(name) {
				m.advance(pattern, at)
			}
		}
		if h.kind == ended {
			delete(m.cursors, name) // "In duplex.v1 only the subscription is over" (PROTOCOL.md §7.5)
		}
	}
	return true
}

// advance moves the cursor of a subscription, never back: another one that lies
// behind may bring events again.
func (m *mover) advance(name string, to topic.Cursor) {
	if to.Seq >= m.cursors[name].Seq {
		m.cursors[name] = to
	}
}

// answered takes the answer to an op.
func (m *mover) answered(message []byte) bool {
	var a struct {
		answer
		Ref json.RawMessage
	}
	if err := json.Unmarshal(message, &a); err != nil {
		m.errorf("%v: %s", err, message)
		return false
	}
	ref, err := strconv.Atoi(string(a.Ref))
	o := m.asked[ref]
	if err != nil || o == nil {
		m.errorf("nothing was asked that this answers: %s", message)
		return false
	}
	delete(m.asked, ref)
	late := ref < m.last[o.topic]
	m.last[o.topic] = max(m.last[o.topic], ref)
	switch {
	case o.name == "publish":
		(&publisher{x: m.x, rng: m.rng}).answered(o.submission, a.answer, message)
		return true
	case a.Op != "ok":
		m.errorf("%s was answered by %s", o.text, message)
		return false
	case o.name == "subscribe" && late: // the answers to ops come as they can
		m.hear(heard{kind: outrun, topic: o.topic})
	case o.name == "subscribe":
		return m.subscribed(o, a.ID)
	case a.ID != "":
		m.errorf("%s was answered by %s", o.text, message)
	case o.name == "unsubscribe":
		delete(m.cursors, o.topic)
		m.hear(heard{kind: stopped, topic: o.topic})
	}
	return true
}

// subscribed begins a subscription: what comes now may be its.
func (m *mover) subscribed(o *op, id string) bool {
	b := o.begin
	b.hi = m.x.end()
	if b.from != fromCursor {
		b.asked = id
	}
	at, err := topic.ParseCursor(id)
	switch {
	case b.from == fromCursor && id != b.asked:
		m.errorf("%s: ok says %q", o.text, id)
		return false
	case b.from == fromCursor && (err != nil || at.Epoch != m.x.epoch || at.Seq > b.hi):
		at = topic.Cursor{ID: topic.ID{Epoch: m.x.epoch}} // until the gap is told
	case err != nil || at.Epoch != m.x.epoch:
		m.errorf("%s: ok says %q", o.text, id)
		return false
	}
	m.cursors[o.topic] = at
	m.hear(heard{kind: began, topic: o.topic, begin: b, cursor: at})
	return true
}

// lacking lists the subscriptions that miss something, when nothing is
// published any more.
func (m *mover) lacking() (names []string) {
	if !m.x.isCalm() {
		return nil
	}
	for name, at := range m.cursors {
		patterns := []topic.Pattern{m.x.parse(name)}
		if last := m.x.truth.last(patterns, true); at.Seq < last || m.x.truth.endOf(patterns) != 0 {
			names = append(names, fmt.Sprintf("%s at %d of %d", name, at.Seq, last))
		}
	}
	return names
}

func (m *mover) settle() {
	if len(m.asked) == 0 && len(m.lacking()) == 0 {
		m.caughtUp()
	}
}
