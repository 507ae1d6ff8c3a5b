//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

// defaultPacedBacklog bounds the messages that are under way at a fixed rate.
const defaultPacedBacklog = 4096

const (
	maxWindow   = 1 << 16
	maxUnderway = 1 << 22 // messages that are remembered: 64 MiB of memory
)

// BroadcastOptions are those of [Broadcast].
type BroadcastOptions struct {
	Options
	Transport   Transport // WebSocket or Raw
	Path        string    // default "/fanout"
	Connections int
	Publishers  int // of the connections. Default 1
	Bytes       int // of a message
	// Window is how many messages are under way, of all publishers together:
	// a message is as long as a connection has not got it. Default 1; 4,096
	// at a fixed rate.
	Window int
	Rate   float64 // messages/s of all publishers; 0: the next when the window allows
	Text   bool    // text messages instead of binary ones
}

// Broadcast sends messages to a server that sends each to all connections, the
// publisher's too.
func Broadcast(ctx context.Context, options BroadcastOptions) (*Report, error) {
	if options.Transport != WebSocket && options.Transport != Raw {
		return nil, errors.New("a broadcast needs WebSocket or raw connections")
	}
	if options.Path == "" {
		options.Path = "/fanout"
	}
	options.Publishers = max(options.Publishers, 1)
	n := max(options.Connections, 0)
	if options.Publishers > n {
		return nil, fmt.Errorf("%d publishers among %d connections", options.Publishers, n)
	}
	f := &fanout{
		by:          inFrames,
		path:        options.Path,
		via:         options.Transport,
		text:        options.Text,
		publishers:  options.Publishers,
		subscribers: n,
		window:      options.Window,
		rate:        options.Rate,
	}
	return f.execute(ctx, options.Options, plan{
		name:  "broadcast",
		vias:  slices.Repeat([]Transport{options.Transport}, n),
		bytes: options.Bytes,
	})
}

// fanout is a work in which messages go to many subscribers. The leading loop
// has all publishers.
//
// Messages belong to series, within which they are in order: one for each
// publisher, or with several topics one for each of them, which always has the
// same publisher. The number of a message is that of its series, and its place
// in it.
type fanout struct {
	by          Publishing
	dialect     *Dialect
	path        string    // of frames
	via         Transport // of frames
	text        bool      // frames are text
	publishers  int       // the first connections
	first       int       // connection that subscribes
	subscribers int
	names       []string // topics
	each        int      // topics of each subscriber
	window      int
	batch       int // messages of a request
	rate        float64
	events      uint64 // if not 0: publish so many, and end

	run      *run
	requests []request       // by topic
	opening  Subscription    // of a publisher, if it publishes over a socket
	openings []*Subscription // by subscriber
	awaited  []int64         // by series: subscribers that have to get its messages
	sent     []atomic.Uint64 // by series
	next     []uint64        // by subscriber and series: what it has to get next
	span     int             // series of each subscriber
	ring     int             // messages of a series that are remembered
	messages []underway      // ring for each series

	// What follows belongs to the leading loop, but for completed.
	random    *rand.Rand
	published uint64
	completed atomic.Uint64
	free      []int       // publishers that may publish
	writers   []publisher // by publisher
}

// underway is a message that was published.
type underway struct {
	when atomic.Int64 // it was sent, or was due to be sent
	left atomic.Int64 // subscribers that have not got it
}

// publisher is a connection that publishes.
type publisher struct {
	out    []byte // what leaves at the end of the turn
	asked  []int64
	count  int   // requests that were sent, the last of them at asked[(count-1)%len]
	behind int   // of them, those that are not answered yet
	busy   bool  // it has to wait for an answer
	used   int64 // when the last answer came
}

// staleAfter is how long a connection without requests is trusted: shortly
// before the time after which servers end one, the soonest of them after 5 s. A
// request that they no longer take could not be told from one that they took.
var staleAfter = 4 * time.Second

func (f *fanout) execute(ctx context.Context, options Options, p plan) (*Report, error) {
	if f.window <= 0 {
		f.window = max(f.batch, 1)
		if f.rate > 0 {
			f.window = defaultPacedBacklog / max(len(f.names), 1)
		}
	}
	f.batch = max(f.batch, 1)
	if f.window < f.batch {
		return nil, fmt.Errorf("a window of %d messages is shorter than a batch of %d", f.window, f.batch)
	}
	if f.window > maxWindow {
		return nil, fmt.Errorf("a window of %d messages: at most %d", f.window, maxWindow)
	}
	series := max(f.publishers, len(f.names))
	f.span = series
	if len(f.names) > 1 {
		f.span = f.each
	}
	f.ring = 1 << bits.Len(uint(f.window)) // more than can be under way
	if size := series * f.ring; size > maxUnderway {
		return nil, fmt.Errorf("%d series of messages with a window of %d: too many to remember", series, f.window)
	}
	f.sent = make([]atomic.Uint64, series)
	f.next = make([]uint64, f.subscribers*f.span)
	f.messages = make([]underway, f.ring*series)
	f.writers = make([]publisher, f.publishers)
	for i := range f.writers {
		f.writers[i].asked = make([]int64, f.window)
	}
	f.awaited = make([]int64, series)
	for i := range f.subscribers {
		for slot := range f.span {
			f.awaited[f.seriesOf(i, slot)]++
		}
	}
	f.random = rand.New(rand.NewPCG(1, 2)) // the same topics in each run
	for i := range f.publishers {
		f.free = append(f.free, i)
	}
	if p.work == nil {
		p.work = f
	}
	p.leading = f.publishers
	r, err := execute(ctx, options, p)
	if r != nil {
		r.Subscribers = f.subscribers
	}
	return r, err
}

// seriesOf gives the series that a subscriber has in a slot: with several
// topics those from a place on, in a circle.
func (f *fanout) seriesOf(subscriber, slot int) int {
	return (f.firstOf(subscriber) + slot) % len(f.sent)
}

func (f *fanout) firstOf(subscriber int) int {
	if f.span == len(f.sent) {
		return 0
	}
	return subscriber * len(f.sent) / f.subscribers
}

func (f *fanout) prepare(r *run) (err error) {
	f.run = r
	if f.by == inFrames {
		f.requests = []request{{item: r.newTemplate(f.via, f.text)}}
		return nil
	}
	for _, name := range f.names {
		p, err := f.dialect.Publish(f.by, name)
		if err != nil {
			return err
		}
		f.requests = append(f.requests, r.newRequest(f.by, &p, f.batch))
		f.opening = Subscription{Path: p.Path, Header: p.Header, JSON: true, Ready: `"event":"$`}
	}
	alike := map[Transport]*Subscription{}
	for i := range f.subscribers {
		via := r.vias[f.first+i]
		s, known := alike[via]
		if !known || f.span < len(f.sent) {
			opening, err := f.dialect.Subscribe(via.form(), f.topicsOf(i), "")
			if err != nil {
				return err
			}
			s = &opening
			alike[via] = s
		}
		f.openings = append(f.openings, s)
	}
	return nil
}

// topicsOf gives the topics of a subscriber.
func (f *fanout) topicsOf(subscriber int) []string {
	if len(f.names) == 1 {
		return f.names
	}
	topics := make([]string, f.span)
	for slot := range topics {
		topics[slot] = f.names[f.seriesOf(subscriber, slot)]
	}
	return topics
}

func (f *fanout) topics(c *conn) []string { return f.topicsOf(c.number - f.first) }

func (f *fanout) request(dst []byte, c *conn) []byte {
	switch {
	case f.by == inFrames:
		return f.run.appendOpening(dst, c.via, f.path)
	case c.via == post:
		return dst
	case c.via == socket:
		c.subscription = &f.opening
	case len(f.cursorOf(c)) > 0:
		s, err := f.dialect.Subscribe(c.via, f.topics(c), f.cursorOf(c))
		if err != nil {
			panic(err) // it was possible before
		}
		c.subscription = &s
	default:
		c.subscription = f.openings[c.number-f.first]
	}
	return f.run.appendSubscription(dst, c)
}

// cursorOf gives where c has to go on, or "" for the first time.
func (f *fanout) cursorOf(c *conn) string {
	if !f.run.cursors {
		return ""
	}
	return string(c.cursor)
}

func (f *fanout) turn(l *loop) (due int64, err error) {
	if !l.leads {
		return 0, nil
	}
	if l.pace.start == 0 {
		l.pace.start = l.now
	}
	when := l.run.now()
	for len(f.free) > 0 && f.published-f.completed.Load()+uint64(f.batch) <= uint64(f.window) {
		if f.events > 0 && f.published+uint64(f.batch) > f.events {
			break
		}
		if f.rate > 0 {
			if when = l.pace.due(f.rate); when > l.run.now() {
				due = when
				break
			}
		}
		l.pace.count += uint64(f.batch)
		f.publish(l, when)
	}
	return due, f.flush(l)
}

// publish lets the publisher whose turn it is publish one request. It leaves
// with the next flush.
func (f *fanout) publish(l *loop, when int64) {
	p := f.free[0]
	f.free = f.free[1:]
	series := p
	if len(f.names) > 1 {
		mine := (len(f.sent) - p + f.publishers - 1) / f.publishers // every f.publishers-th from p on
		series = p + f.publishers*f.random.IntN(mine)
	}
	first := f.sent[series].Load()
	for i := range uint64(f.batch) {
		m := f.message(series, first+i)
		m.when.Store(when)
		m.left.Store(f.awaited[series])
	}
	f.sent[series].Store(first + uint64(f.batch))
	f.published += uint64(f.batch)
	if l.phase == measuring {
		l.tally.published += uint64(f.batch)
	}
	w := &f.writers[p]
	w.out = f.requests[series%len(f.requests)].append(w.out, uint64(series)<<countBits|first, f.batch)
	if f.by != inFrames {
		w.asked[w.count%len(w.asked)] = l.run.now()
		w.count++
		w.behind++
		w.busy = f.by != Socket // which bounds only the window
	}
	if !w.busy {
		f.free = append(f.free, p)
	}
}

// flush sends what was published in this turn.
func (f *fanout) flush(l *loop) error {
	for p := range f.writers {
		w := &f.writers[p]
		if len(w.out) == 0 {
			continue
		}
		c := l.conns[p]
		if c.via == post && c.state == open && l.run.now()-w.used >= int64(staleAfter) {
			if err := l.renew(c); err != nil {
				return err
			}
		}
		if err := l.send(c, w.out); err != nil {
			return err
		}
		w.out = w.out[:0]
	}
	return nil
}

// broken lets a publisher have another connection for the one that the server
// has ended between two requests, as it may.
func (f *fanout) broken(l *loop, c *conn, err error) error {
	if c.via != post || c.state != open || f.writers[c.number].behind > 0 {
		return err
	}
	return l.renew(c)
}

func (f *fanout) message(series int, count uint64) *underway {
	return &f.messages[series*f.ring+int(count%uint64(f.ring))]
}

// check counts what is wrong with a message that has come to a subscriber. If
// it is the next of its series, or a later one, skipped is how many are missing
// before it.
func (f *fanout) check(l *loop, c *conn, number uint64, intact bool) (series int, count, skipped uint64, ok bool) {
	if !intact {
		return 0, 0, 0, false // its number is unknown: it will be missing
	}
	series, count = int(number>>countBits), number&countMask
	if series >= len(f.sent) || count >= f.sent[series].Load() {
		l.tally.wrong++
		return 0, 0, 0, false
	}
	subscriber := c.number - f.first
	slot := (series - f.firstOf(subscriber) + len(f.sent)) % len(f.sent)
	if slot >= f.span {
		l.tally.wrong++ // it has not subscribed to that
		return 0, 0, 0, false
	}
	next := &f.next[subscriber*f.span+slot]
	if count < *next {
		l.tally.duplicates++
		return 0, 0, 0, false
	}
	skipped = count - *next
	*next = count + 1
	switch {
	case c.gapped:
		l.tally.told += skipped
	default:
		l.tally.lost += skipped
	}
	c.gapped = false
	return series, count, skipped, true
}

func (f *fanout) delivered(l *loop, c *conn, number uint64, intact bool) {
	series, count, skipped, ok := f.check(l, c, number, intact)
	if !ok {
		return
	}
	for i := count - skipped; i < count; i++ {
		f.got(l, f.message(series, i))
	}
	m := f.message(series, count)
	l.count(m.when.Load())
	f.got(l, m)
}

// got notes that one more subscriber needs no longer be waited for.
func (f *fanout) got(l *loop, m *underway) {
	when := m.when.Load() // afterwards it may be another message
	if m.left.Add(-1) > 0 {
		return
	}
	if l.phase == measuring {
		l.tally.complete.Add(time.Duration(l.now - when))
	}
	f.complete(l, 1)
}

func (f *fanout) complete(l *loop, count int) {
	f.completed.Add(uint64(count))
	if !l.leads {
		if err := f.run.loops[0].wake(); err != nil {
			f.run.fail(err)
		}
	}
}

func (f *fanout) received(*loop, *conn) error { return nil }

func (f *fanout) answered(l *loop, c *conn, status int) error {
	if status/100 != 2 {
		return fmt.Errorf("a publish was answered with %d", status)
	}
	w := &f.writers[c.number]
	if w.behind == 0 {
		return errors.New("a publish was answered twice")
	}
	asked := w.asked[(w.count-w.behind)%len(w.asked)]
	w.behind--
	w.used = l.now
	if l.phase == measuring {
		l.tally.answered.Add(time.Duration(l.now - asked))
		l.tally.answers += uint64(f.batch)
	}
	if w.busy {
		w.busy = false
		f.free = append(f.free, c.number)
	}
	if f.subscribers == 0 {
		for range f.batch {
			l.count(asked)
		}
		f.complete(l, f.batch)
	}
	return nil
}

func (f *fanout) staged(p phase) bool {
	return f.events > 0 && p == measuring && f.published+uint64(f.batch) > f.events && f.published == f.completed.Load()
}

func (f *fanout) drained(l *loop) bool {
	return !l.leads || f.published == f.completed.Load() && f.answeredAll()
}

func (f *fanout) answeredAll() bool {
	return !slices.ContainsFunc(f.writers, func(w publisher) bool { return w.behind > 0 })
}

func (f *fanout) finish(r *Report) {
	for i, next := range f.next {
		missing := f.sent[f.seriesOf(i/f.span, i%f.span)].Load() - next
		r.Lost += missing
		r.Overdue += missing
	}
}
