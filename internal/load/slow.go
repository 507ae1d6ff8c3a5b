//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// StallOptions are those of [Stall]. Options.Duration has no meaning.
type StallOptions struct {
	TopicOptions               // of which publishing is by one connection, and Rate is 300/s by default; Messages, Window and Events have no meaning
	Before       time.Duration // that all read, and again after the stall. Default 2 s
	Stalled      time.Duration // that every second subscriber does not read. Default 5 s
}

const (
	defaultStallRate = 300
	defaultBefore    = 2 * time.Second
	defaultStalled   = 5 * time.Second
	memoryInterval   = int64(250 * time.Millisecond) // between readings
	stallDelay       = time.Minute                   // that the stages together may be late
)

// Stall publishes at a fixed rate while every second subscriber stops reading
// for some time; then they read again, and have to get all that they have
// missed, or be told what they do not get. A subscriber whose connection the
// server has closed comes back with its cursor.
//
// [Report.Stages] has the latencies of those that always read, before, during
// and after: each lasts longer than it is to if nothing has come by then. And
// [Report.Slow] what the server held for the others.
func Stall(ctx context.Context, options StallOptions) (*Report, error) {
	if options.Before <= 0 {
		options.Before = defaultBefore
	}
	if options.Stalled <= 0 {
		options.Stalled = defaultStalled
	}
	if options.Rate == 0 {
		options.Rate = defaultStallRate
	}
	options.By, options.Publishers, options.Topics = Posts, 1, 1
	options.Loops, options.Messages, options.Window, options.Events = 1, 0, 0, 0
	options.Duration = 2*options.Before + options.Stalled + stallDelay
	f, p, err := options.plan()
	if err != nil {
		return nil, err
	}
	if f.subscribers < 2 {
		return nil, errors.New("of less than two subscribers, half cannot stop reading")
	}
	w := &stall{fanout: f, options: options}
	w.report.Readers = f.subscribers / 2
	w.target = make([]uint64, f.subscribers)
	p.work, p.name, p.cursors = w, "slow readers", true
	r, err := f.execute(ctx, options.Options, p)
	if r != nil {
		r.Slow, r.Stages = &w.report, w.stages[:]
	}
	return r, err
}

type stall struct {
	*fanout
	options  StallOptions
	stages   [3]Stage
	report   Slow
	began    int64    // the measuring
	stage    int      // of stages
	entered  int64    // the stage
	nextLook int64    // at the memory
	target   []uint64 // by subscriber: what it has to get next when it has recovered; 0: it has
	paused   []*conn
	gone     []*conn // abandoned
}

// stalls reports whether c is one that stops.
func (w *stall) stalls(c *conn) bool {
	return c.number >= w.first && (c.number-w.first)%2 == 1
}

func (w *stall) prepare(r *run) error {
	for i := range w.awaited {
		w.awaited[i] = int64(w.subscribers - w.report.Readers)
	}
	return w.fanout.prepare(r)
}

func (w *stall) turn(l *loop) (due int64, err error) {
	if l.phase == measuring {
		if w.began == 0 {
			w.began, w.entered = l.now, l.now
			for i, name := range []string{"all read", "half stalled", "all read again"} {
				w.stages[i].Name = name
			}
		}
		if err := w.advance(l); err != nil {
			return 0, err
		}
	}
	return w.fanout.turn(l)
}

// advance goes to the stage whose time it is.
func (w *stall) advance(l *loop) error {
	lasts := [...]time.Duration{w.options.Before, w.options.Stalled}
	switch {
	case w.stage < len(lasts) && l.now-w.entered >= int64(lasts[w.stage]) && w.hasFigures():
		w.stages[w.stage].Elapsed = time.Duration(l.now - w.entered)
		w.stage++
		w.entered = l.now
		if w.stage == 1 {
			return w.stop(l)
		}
		return w.goOn(l)
	case w.stage == 1 && l.now >= w.nextLook:
		w.nextLook = l.now + memoryInterval
		return w.look(&w.report.RSSPeak, &w.report.KernelPeak)
	}
	return nil
}

// hasFigures reports whether the stage has something to tell.
func (w *stall) hasFigures() bool {
	s := &w.stages[w.stage]
	return s.Published > 0 && s.Latency.Count() > 0
}

// look keeps the most of what is seen of the memory.
func (w *stall) look(rss, kernel *int64) error {
	if pid := w.run.options.PID; pid != 0 {
		resident, err := quickRSS(pid)
		if err != nil {
			return err
		}
		*rss = max(*rss, resident)
	}
	buffers, err := kernelBuffers()
	*kernel = max(*kernel, buffers)
	return err
}

func (w *stall) stop(l *loop) error {
	if err := w.look(&w.report.RSSBefore, &w.report.KernelBefore); err != nil {
		return err
	}
	w.report.RSSPeak = w.report.RSSBefore
	for _, c := range l.conns {
		if w.stalls(c) && c.state == open {
			if err := l.pause(c); err != nil {
				return err
			}
			w.paused = append(w.paused, c)
		}
	}
	return nil
}

func (w *stall) goOn(l *loop) error {
	if err := w.look(&w.report.RSSPeak, &w.report.KernelPeak); err != nil {
		return err
	}
	if w.dialect.History {
		w.report.Kept = int64(w.stages[1].Published) * int64(len(w.run.pattern))
	}
	for _, c := range w.paused {
		w.target[c.number-w.first] = w.sent[0].Load()
		if err := l.resume(c); err != nil {
			return err
		}
	}
	return nil
}

func (w *stall) delivered(l *loop, c *conn, number uint64, intact bool) {
	if w.stalls(c) {
		_, count, _, ok := w.check(l, c, number, intact)
		target := &w.target[c.number-w.first]
		if ok && *target > 0 && count+1 >= *target {
			*target = 0
			w.report.Recovered++
			w.report.Recovery = time.Duration(l.now - w.entered)
		}
		return
	}
	if intact && l.phase == measuring {
		if series := int(number >> countBits); series == 0 {
			w.stages[w.stage].Latency.Add(time.Duration(l.now - w.message(0, number&countMask).when.Load()))
		}
	}
	w.fanout.delivered(l, c, number, intact)
}

func (w *stall) answered(l *loop, c *conn, status int) error {
	if l.phase == measuring && w.writers[c.number].behind > 0 {
		writer := &w.writers[c.number]
		s := &w.stages[w.stage]
		s.Published++
		s.Answered.Add(time.Duration(l.now - writer.asked[(writer.count-writer.behind)%len(writer.asked)]))
	}
	return w.fanout.answered(l, c, status)
}

// broken lets a slow reader whose connection the server has closed come back.
func (w *stall) broken(l *loop, c *conn, err error) error {
	if !w.stalls(c) || l.phase < measuring || c.state == connecting {
		return w.fanout.broken(l, c, err)
	}
	w.report.Cut++
	if w.report.Cut > 100*w.subscribers {
		return fmt.Errorf("the server goes on closing connections: %w", err)
	}
	if c.gapped {
		c.cursor = append(c.cursor[:0], "earliest"...) // PROTOCOL.md §8.2
	}
	abandoned := len(c.cursor) == 0
	if err := l.leave(c); err != nil {
		return err
	}
	if abandoned {
		w.report.Abandoned++
		w.gone = append(w.gone, c)
		return nil
	}
	return l.redial(c)
}

func (w *stall) staged(p phase) bool {
	return p == measuring && w.stage == 2 && w.run.now()-w.entered >= int64(w.options.Before) && w.hasFigures()
}

func (w *stall) drained(l *loop) bool {
	return w.fanout.drained(l) && !slices.ContainsFunc(l.conns, func(c *conn) bool {
		return w.stalls(c) && c.state != left && w.next[c.number-w.first] < w.sent[0].Load()
	})
}

// finish does not count as lost what those could not ask for who could not
// come back.
func (w *stall) finish(r *Report) {
	w.stages[w.stage].Elapsed = time.Duration(w.run.measured) + r.Elapsed - time.Duration(w.entered)
	for _, c := range w.gone {
		missing := w.sent[0].Load() - w.next[c.number-w.first]
		w.report.Missing += missing
		w.next[c.number-w.first] += missing
	}
	w.fanout.finish(r)
}
