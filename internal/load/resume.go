//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// away is how long subscribers stay away after the last message was published:
// time for the server to notice that they are gone.
const away = 200 * time.Millisecond

// ResumeOptions are those of [Resume].
type ResumeOptions struct {
	TopicOptions     // of which publishing is by one connection; Messages, Window, Rate and Events have no meaning
	Missed       int // messages that each subscriber catches up with. Default 100
}

const (
	defaultMissed   = 100
	maxMissed       = 50_000
	resumeWarmup    = time.Minute // limit for what comes before
	resumeDuration  = time.Minute // limit for the catching up
	resumePublisher = 0           // its connection
)

// Resume lets all subscribers get one message, and disconnects them. Then it
// publishes the messages that they miss, and reconnects them all at once.
// [Report.Elapsed] is the time until the last one has them all, and
// [Report.Latency] that of each subscriber.
func Resume(ctx context.Context, options ResumeOptions) (*Report, error) {
	if options.Missed <= 0 {
		options.Missed = defaultMissed
	}
	if options.Missed > maxMissed {
		return nil, fmt.Errorf("%d missed messages: at most %d", options.Missed, maxMissed)
	}
	options.By, options.Publishers, options.Topics = Posts, 1, 1
	options.Loops, options.Messages, options.Rate, options.Events = 1, 0, 0, 0
	options.Window = 1 + options.Missed
	options.Warmup, options.Duration = resumeWarmup, resumeDuration
	f, p, err := options.plan()
	if err != nil {
		return nil, err
	}
	if f.subscribers == 0 {
		return nil, errors.New("nobody is to reconnect: there are no subscribers")
	}
	if slices.Contains(p.vias, SSEOverHTTP2) {
		return nil, errors.New("streams of one connection cannot be cut each alone: there is no resume over HTTP/2 here")
	}
	w := &resume{fanout: f, missed: uint64(options.Missed)}
	p.work, p.name = w, "resume"
	p.cursors, p.steps = true, true
	return f.execute(ctx, options.Options, p)
}

type resume struct {
	*fanout
	missed uint64
	mark   string // cursor after the message that all have got, from the answer to its publishing
	gone   bool   // all are disconnected
	since  int64  // when the last message was published
	began  int64  // when they came back
	caught int    // subscribers that have all
}

func (w *resume) turn(l *loop) (due int64, err error) {
	switch {
	case l.phase == measuring:
		if w.began == 0 {
			w.began = l.now
			for _, c := range l.conns[w.first:] {
				if err := l.redial(c); err != nil {
					return 0, err
				}
			}
		}
		return 0, nil
	case len(w.free) == 0:
		return 0, nil // the answer is awaited
	case w.published == 0:
		w.publish(l, l.now)
	case w.completed.Load() == 0:
		return 0, nil
	case !w.gone:
		w.mark = string(l.conns[resumePublisher].cursor)
		for _, c := range l.conns[w.first:] {
			if err := l.leave(c); err != nil {
				return 0, err
			}
		}
		w.gone = true
		fallthrough
	case w.published <= w.missed:
		w.publish(l, l.now)
		w.since = l.now
	}
	return w.since + int64(away), w.flush(l)
}

func (w *resume) staged(p phase) bool {
	if p == measuring {
		return w.caught == w.subscribers
	}
	return w.published > w.missed && w.answeredAll() && w.run.now() >= w.since+int64(away)
}

// request asks for what follows the message that was the last.
func (w *resume) request(dst []byte, c *conn) []byte {
	if w.gone && len(c.cursor) == 0 {
		c.cursor = append(c.cursor, w.mark...)
	}
	return w.fanout.request(dst, c)
}

func (w *resume) delivered(l *loop, c *conn, number uint64, intact bool) {
	_, count, skipped, ok := w.check(l, c, number, intact)
	if !ok {
		return
	}
	for i := count - skipped; i <= count; i++ {
		w.got(l, w.message(0, i))
	}
	if !w.gone || l.phase != measuring {
		return
	}
	l.tally.messages++
	if count == w.missed {
		w.caught++
		l.tally.latency.Add(time.Duration(l.now - w.began))
	}
}
