package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"sync"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// mostShared is how many subscriptions a connection takes (PROTOCOL.md §11).
const mostShared = 1000

// slowFor is how long a loop that is slow may hold up those of other
// subscriptions, before it is left out.
const slowFor = 100 * time.Millisecond

// A session is a connection that carries the subscriptions of a client, each
// with one topic or pattern, of which no two match the same topics.
type session struct {
	link *link
	conn MessageConn
	end  context.CancelCauseFunc // of both loops

	mu      sync.Mutex        // guards what follows
	entries map[string]*entry // by topic or pattern
	wild    map[string]*entry // the patterns among them
	asked   map[int]func(answer)
	refs    int
	out     [][]byte      // to be sent
	sending chan struct{} // holds one when there is something in out

	interval time.Duration // of $ping; only the reader's
	first    []byte        // the message that came first
	lead     *entry        // that it has begun with; nil if it has begun with none
}

// An entry is a subscription of the connection. It brings nothing until the
// server has answered.
type entry struct {
	s    *subscription
	name string
	feed *feed
}

// An answer is what the server says of an op (PROTOCOL.md §8.4).
type answer struct {
	Op, ID              string
	Ref                 int
	Status              int
	Type, Title, Detail string
}

// dialSession connects, and waits for the first signal. The connection begins with
// the lead, by its URL, which spares it the way there and back of a subscribe.
func (c *Client) dialSession(ctx context.Context, l *link, lead *subscription) (*session, error) {
	s := &session{
		link: l, entries: make(map[string]*entry), wild: make(map[string]*entry),
		asked: make(map[int]func(answer)), sending: make(chan struct{}, 1),
	}
	after := s.add(lead)
	s.lead = s.entries[lead.topics[0]]
	err := s.dial(ctx, c.url(s.lead.name, c.identify(url.Values{"after": {after}})))
	if refusal(err, true) && !unauthorized(err) {
		// It may be for the lead only, which is told when it subscribes.
		s.drop(s.lead)
		s.lead = nil
		err = s.dial(ctx, c.url("", c.identify(url.Values{})))
	}
	if err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

func (s *session) dial(ctx context.Context, u *url.URL) error {
	conn, version, err := s.link.c.dialMessages(ctx, s.link.transport, u)
	if err != nil {
		return err
	}
	message, err := conn.ReadMessage(ctx, 0)
	var first topic.Envelope
	if err == nil {
		first, err = topic.ParseEnvelope(message)
	}
	if err != nil {
		conn.Close()
		return closeError(err)
	}
	s.conn, s.first, s.interval = conn, bytes.Clone(message), pingInterval(first.Data)
	s.link.version = version
	return nil
}

// abandon ends what was never run, but for its connection.
func (s *session) abandon() {
	if s.lead != nil {
		s.lead.feed.end()
	}
}

// begin gives what has come first, to the lead, too: from here on it is the
// session's.
func (s *session) begin(ctx context.Context) error {
	if first, err := topic.ParseEnvelope(s.first); s.lead != nil && err == nil {
		place := ""
		if first.Type == topic.TypePing || first.Type == topic.TypeGap {
			place = first.ID
		}
		s.place(s.lead, place)
	}
	return s.receive(ctx, s.first)
}

// run reads and writes until the connection is over. over is told why, before
// the farewell, which takes its time.
func (s *session) run(ctx context.Context, over func(error)) {
	ctx, s.end = context.WithCancelCause(ctx)
	var writing sync.WaitGroup
	// Ends with ctx, or when a write fails. Joined below.
	writing.Go(func() { s.write(ctx) })
	err := s.begin(ctx)
	if err == nil {
		err = s.read(ctx)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	s.mu.Lock()
	entries := s.entries
	s.entries, s.wild, s.asked = nil, nil, nil
	s.mu.Unlock()
	for _, e := range entries {
		e.feed.end()
	}
	over(err)
	s.end(err)
	s.conn.Close()
	writing.Wait()
}

func (s *session) read(ctx context.Context) error {
	for {
		message, err := s.conn.ReadMessage(ctx, idleLimit(s.interval))
		if err != nil {
			return err
		}
		if err := s.receive(ctx, message); err != nil {
			return err
		}
	}
}

func (s *session) write(ctx context.Context) {
	for {
		select {
		case <-s.sending:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		out := s.out
		s.out = nil
		s.mu.Unlock()
		for _, message := range out {
			if err := s.conn.WriteMessage(ctx, message); err != nil {
				s.end(err)
				return
			}
		}
	}
}

// An op is what the client asks for (PROTOCOL.md §8.4).
type op struct {
	Op    string `json:"op"`
	Topic string `json:"topic,omitempty"`
	After string `json:"after,omitempty"`
	Ref   int    `json:"ref,omitempty"`
}

// ask sends an op; then, if not nil, gets its answer, on the reader's
// goroutine. The lock is held.
func (s *session) ask(o op, then func(answer)) {
	if then != nil {
		s.refs++
		o.Ref = s.refs
		s.asked[o.Ref] = then
	}
	message, _ := json.Marshal(o) // never fails for strings
	s.out = append(s.out, message)
	select {
	case s.sending <- struct{}{}:
	default:
	}
}

// subscribe takes a subscription, unless another matches the same topics or
// the connection is over.
func (s *session) subscribe(sub *subscription) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == nil || len(s.entries) == mostShared || len(sub.topics) > 1 || s.overlaps(sub.patterns[0]) {
		return false
	}
	after := s.add(sub)
	e := s.entries[sub.topics[0]]
	s.ask(op{Op: "subscribe", Topic: e.name, After: after}, func(a answer) { s.subscribed(e, a) })
	return true
}

// add puts an entry in, and says where it begins. The lock is held.
func (s *session) add(sub *subscription) (after string) {
	e := &entry{s: sub, name: sub.topics[0]}
	e.feed, after = sub.begin()
	s.entries[e.name] = e
	if sub.only == "" {
		s.wild[e.name] = e
	}
	return after
}

func (s *session) overlaps(p topic.Pattern) bool {
	if p.Literal() {
		return s.entryOf(p.String()) != nil
	}
	for _, e := range s.entries {
		if overlap(p, e.s.patterns[0]) {
			return true
		}
	}
	return false
}

func (s *session) entryOf(name string) *entry {
	if e := s.entries[name]; e != nil {
		return e
	}
	for _, e := range s.wild {
		if e.s.patterns[0].Match(name) {
			return e
		}
	}
	return nil
}

// subscribed is told the answer to subscribe.
func (s *session) subscribed(e *entry, a answer) {
	switch {
	case !s.has(e):
	case a.Op == "error":
		s.forget(e)
		s.link.lost(e.s, a.problem(), 0)
	default:
		s.place(e, a.ID)
	}
}

func (s *session) has(e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[e.name] == e
}

// place has an entry count, from its place in the log on.
func (s *session) place(e *entry, at string) {
	if e.feed.promote(s.link.number, at) == nil {
		s.link.placed(e.s)
	}
}

// unsubscribe ends a subscription, if it is one of this connection.
func (s *session) unsubscribe(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[sub.topics[0]]; e != nil && e.s == sub {
		s.drop(e)
		s.ask(op{Op: "unsubscribe", Topic: e.name}, nil)
	}
}

// drop takes an entry out. The lock is held.
func (s *session) drop(e *entry) {
	delete(s.entries, e.name)
	delete(s.wild, e.name)
	e.feed.end()
}

func (s *session) forget(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[e.name] == e {
		s.drop(e)
	}
}

// check asks for a sign of life.
func (s *session) check(then func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries != nil {
		s.ask(op{Op: "ping"}, func(answer) { then() })
	}
}

// receive takes a message: an answer, an event or a signal.
func (s *session) receive(ctx context.Context, message []byte) error {
	if bytes.HasPrefix(message, []byte(`{"op":`)) {
		var a answer
		if err := json.Unmarshal(message, &a); err != nil {
			return final(err)
		}
		s.mu.Lock()
		then := s.asked[a.Ref]
		delete(s.asked, a.Ref)
		s.mu.Unlock()
		if then != nil {
			then(a)
		}
		return nil
	}
	e, err := topic.ParseEnvelope(message)
	if err != nil {
		return final(err)
	}
	switch e.Type {
	case topic.TypePing:
		s.interval = pingInterval(e.Data)
		s.forAll(e)
	case topic.TypeGap:
		s.mu.Lock()
		to := s.entries[topicIn(e.Data)]
		s.mu.Unlock()
		s.give(ctx, to, e)
	case topic.TypeEnd:
		s.give(ctx, s.find(topicIn(e.Data)), e)
	default:
		if e.Topic == "" {
			s.forAll(e) // §6.1: "MUST ignore signals that they do not know, but keep their id"
			break
		}
		s.give(ctx, s.find(e.Topic), e)
	}
	return nil
}

// topicIn is what a signal is about (PROTOCOL.md §8.5).
func topicIn(data []byte) string {
	var about struct{ Topic string }
	_ = json.Unmarshal(data, &about) // what says no topic is about none
	return about.Topic
}

func (s *session) find(name string) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entryOf(name)
}

// forAll takes the place that a signal says for all subscriptions.
func (s *session) forAll(e topic.Envelope) {
	if e.ID == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, to := range s.entries {
		_ = to.feed.take(e, false) // one that is not placed yet takes nothing
	}
}

// give brings an event to its subscription. One that is slow holds up the
// others for a moment at most; then it is left out until there is room for it
// again, and the server keeps its place.
func (s *session) give(ctx context.Context, to *entry, e topic.Envelope) {
	if to == nil {
		return
	}
	for {
		switch to.feed.take(e, false) {
		case errFull:
			if s.waitRoom(ctx, to, len(e.Data)) {
				continue
			}
			s.again(to)
		case errAgain:
			s.again(to)
		case errOver:
			s.forget(to)
		}
		return
	}
}

// again subscribes once more, from the cursor, when there is room.
func (s *session) again(to *entry) {
	s.unsubscribe(to.s)
	to.feed.park(func() { s.link.attach(to.s) })
}

// waitRoom waits for a subscription that is slow, and reports whether to try
// again: it does so as long as it is the only one.
func (s *session) waitRoom(ctx context.Context, slow *entry, more int) bool {
	for {
		waiting, cancel := context.WithTimeoutCause(ctx, slowFor, errFull)
		err := slow.feed.waitRoom(waiting, more)
		cancel()
		s.mu.Lock()
		alone := len(s.entries) == 1
		s.mu.Unlock()
		if err != errFull || !alone {
			return err == nil
		}
	}
}

func (a *answer) problem() *ProblemError {
	return &ProblemError{Status: a.Status, Name: problemName(a.Type), Title: a.Title, Detail: a.Detail}
}
