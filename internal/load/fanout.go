//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"
)

// defaultPacedBacklog bounds the messages that are under way at a fixed rate.
const defaultPacedBacklog = 4096

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
		publishVia:  options.Transport,
		path:        options.Path,
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

// TopicOptions are those of [Topic].
type TopicOptions struct {
	Options
	Path        string      // such as "/topics/x"
	Transports  []Transport // the subscribers take them in turn. Default WebSocket, which is without a subprotocol
	Subscribers int         // with none, only the publishing is measured
	Publishers  int         // connections that publish by POST, one request at a time each. Default 1
	Bytes       int         // of a message
	// Window is how many messages are under way, of all publishers together:
	// a message is as long as a subscriber has not got it. Default 1; 4,096 at
	// a fixed rate.
	Window int
	Rate   float64 // messages/s of all publishers; 0: the next when the window allows
}

// Topic publishes to a topic of a Duplex server and subscribes to it.
func Topic(ctx context.Context, options TopicOptions) (*Report, error) {
	if len(options.Transports) == 0 {
		options.Transports = []Transport{WebSocket}
	}
	options.Publishers = max(options.Publishers, 1)
	n := max(options.Subscribers, 0)
	f := &fanout{
		publishVia:  post,
		path:        options.Path,
		publishers:  options.Publishers,
		subscribers: n,
		first:       options.Publishers,
		window:      options.Window,
		rate:        options.Rate,
	}
	vias := slices.Repeat([]Transport{post}, options.Publishers)
	for i := range n {
		via := options.Transports[i%len(options.Transports)]
		if via != WebSocket && via != SSE && via != Stream {
			return nil, fmt.Errorf("a topic cannot be read as %v", via)
		}
		vias = append(vias, via)
	}
	name := "publish"
	if n > 0 {
		name = fmt.Sprint("topic ", options.Transports)
	}
	return f.execute(ctx, options.Options, plan{name: name, vias: vias, bytes: options.Bytes})
}

// fanout is a work in which each message goes to all subscribers. The leading
// loop has all publishers.
type fanout struct {
	publishVia  Transport
	path        string
	text        bool
	publishers  int // the first connections
	first       int // connection that subscribes
	subscribers int
	window      int
	rate        float64

	run      *run
	template template
	sent     []atomic.Uint64 // by publisher
	next     []uint64        // by subscriber and publisher: what it has to get next
	ring     int             // messages of a publisher that are remembered
	messages []underway      // ring for each publisher

	// What follows belongs to the leading loop, but for completed.
	published uint64
	completed atomic.Uint64
	free      []*conn  // that wait for no answer
	batches   [][]byte // by publisher: what leaves at the end of the turn
	asked     []int64  // by publisher: when its request was sent
}

// underway is a message that was published.
type underway struct {
	when atomic.Int64 // it was sent, or was due to be sent
	left atomic.Int64 // subscribers that have not got it
}

func (f *fanout) execute(ctx context.Context, options Options, p plan) (*Report, error) {
	if f.window <= 0 {
		f.window = 1
		if f.rate > 0 {
			f.window = defaultPacedBacklog
		}
	}
	f.ring = 1 << bits.Len(uint(f.window)) // more than can be under way
	f.sent = make([]atomic.Uint64, f.publishers)
	f.next = make([]uint64, f.subscribers*f.publishers)
	f.messages = make([]underway, f.ring*f.publishers)
	f.batches = make([][]byte, f.publishers)
	f.asked = make([]int64, f.publishers)
	p.work = f
	p.leading = f.publishers
	r, err := execute(ctx, options, p)
	if r != nil {
		r.Subscribers = f.subscribers
	}
	return r, err
}

func (f *fanout) prepare(r *run) {
	f.run = r
	f.template = r.newTemplate(f.publishVia, f.path, f.text)
}

func (f *fanout) request(dst []byte, c *conn) []byte {
	if c.via == post {
		f.free = append(f.free, c)
	}
	return f.run.appendOpening(dst, c.via, f.path)
}

func (f *fanout) turn(l *loop) (due int64, err error) {
	if !l.leads {
		return 0, nil
	}
	if l.pace.start == 0 {
		l.pace.start = l.now
	}
	when := l.run.now()
	for f.published-f.completed.Load() < uint64(f.window) {
		if f.rate > 0 {
			if when = l.pace.due(f.rate); when > l.run.now() {
				due = when
				break
			}
		}
		publisher := l.cursor % f.publishers
		if f.publishVia == post {
			if len(f.free) == 0 {
				break
			}
			publisher = f.free[0].number
			f.free = f.free[1:]
		}
		l.cursor++
		l.pace.count++
		f.publish(l, publisher, when)
	}
	for publisher, batch := range f.batches {
		if len(batch) > 0 {
			f.asked[publisher] = l.run.now()
			if err := l.send(l.conns[publisher], batch); err != nil {
				return 0, err
			}
			f.batches[publisher] = batch[:0]
		}
	}
	return due, nil
}

func (f *fanout) publish(l *loop, publisher int, when int64) {
	count := f.sent[publisher].Load()
	m := f.message(publisher, count)
	m.when.Store(when)
	m.left.Store(int64(f.subscribers))
	f.sent[publisher].Store(count + 1)
	f.published++
	if l.phase == measuring {
		l.tally.published++
	}
	f.batches[publisher] = f.template.append(f.batches[publisher], uint64(publisher)<<countBits|count)
}

func (f *fanout) message(publisher int, count uint64) *underway {
	return &f.messages[publisher*f.ring+int(count%uint64(f.ring))]
}

func (f *fanout) delivered(l *loop, c *conn, number uint64, intact bool) {
	if !intact {
		return // its number is unknown: it will be missing
	}
	publisher, count := int(number>>countBits), number&countMask
	if publisher >= f.publishers || count >= f.sent[publisher].Load() {
		l.tally.wrong++
		return
	}
	next := &f.next[(c.number-f.first)*f.publishers+publisher]
	if count < *next {
		l.tally.duplicates++
		return
	}
	for ; *next < count; *next++ {
		l.tally.lost++
		f.got(l, f.message(publisher, *next))
	}
	*next++
	m := f.message(publisher, count)
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
	f.complete(l)
}

func (f *fanout) complete(l *loop) {
	f.completed.Add(1)
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
	if l.phase == measuring {
		l.tally.answered.Add(time.Duration(l.now - f.asked[c.number]))
	}
	f.free = append(f.free, c)
	if f.subscribers == 0 {
		l.count(f.asked[c.number])
		f.complete(l)
	}
	return nil
}

func (f *fanout) drained(l *loop) bool {
	return !l.leads || f.published == f.completed.Load() && (f.publishVia != post || len(f.free) == f.publishers)
}

func (f *fanout) finish(r *Report) {
	for i, next := range f.next {
		r.Lost += f.sent[i%f.publishers].Load() - next
	}
}
