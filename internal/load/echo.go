//go:build linux

package load

import (
	"context"
	"errors"
	"slices"
)

const (
	countMask = 1<<countBits - 1

	// So many messages are under way per connection when they are sent at a
	// fixed rate; after that the rate is not kept, and latencies tell.
	defaultPacedWindow = 64
)

// EchoOptions are those of [Echo].
type EchoOptions struct {
	Options
	Transport   Transport // WebSocket or Raw
	Path        string    // default "/echo"
	Connections int
	Bytes       int     // of a message
	Window      int     // messages under way per connection. Default 1; 64 at a fixed rate
	Rate        float64 // messages/s over all connections; 0: the next when one is back
	Text        bool    // text messages instead of binary ones
	Deflate     bool    // permessage-deflate without context takeover. All messages are the same text, which looks like JSON
}

// Echo sends messages to a server that sends each back.
func Echo(ctx context.Context, options EchoOptions) (*Report, error) {
	if options.Transport != WebSocket && options.Transport != Raw || options.Transport == Raw && options.Deflate {
		return nil, errors.New("an echo needs WebSocket, or raw connections without compression")
	}
	if options.Path == "" {
		options.Path = "/echo"
	}
	if options.Window <= 0 {
		options.Window = 1
		if options.Rate > 0 {
			options.Window = defaultPacedWindow
		}
	}
	n := max(options.Connections, 0)
	e := &echo{EchoOptions: options, states: make([]echoState, n), times: make([]int64, n*options.Window)}
	return execute(ctx, options.Options, plan{
		work:   e,
		name:   "echo",
		vias:   slices.Repeat([]Transport{options.Transport}, n),
		bytes:  options.Bytes,
		packed: options.Deflate,
	})
}

type echo struct {
	plain
	EchoOptions
	run      *run
	template template
	states   []echoState // by connection
	times    []int64     // Window for each connection: when a message was sent
}

type echoState struct {
	sent, back uint64
	owed       int // came back in this read
}

func (e *echo) prepare(r *run) error {
	e.run = r
	e.template = r.newTemplate(e.Transport, e.Text)
	return nil
}

func (e *echo) request(dst []byte, c *conn) []byte {
	return e.run.appendOpening(dst, c.via, e.Path)
}

func (e *echo) turn(l *loop) (due int64, err error) {
	if e.Rate > 0 {
		return e.paced(l)
	}
	for ; l.cursor < len(l.conns); l.cursor++ { // once: then each answers for the next
		if err := e.send(l, l.conns[l.cursor], e.Window, l.run.now()); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// paced sends what is due by now, to each connection in turn.
func (e *echo) paced(l *loop) (due int64, err error) {
	rate := e.Rate * float64(len(l.conns)) / float64(len(e.states))
	if l.pace.start == 0 {
		l.pace.start = l.now
	}
	for {
		if due = l.pace.due(rate); due > l.run.now() {
			return due, nil
		}
		c := l.conns[l.cursor%len(l.conns)]
		if s := &e.states[c.number]; s.sent-s.back >= uint64(e.Window) {
			return 0, nil // this one keeps us waiting
		}
		l.cursor++
		l.pace.count++
		if err := e.send(l, c, 1, due); err != nil {
			return 0, err
		}
	}
}

func (e *echo) send(l *loop, c *conn, count int, when int64) error {
	s := &e.states[c.number]
	l.out = l.out[:0]
	for range count {
		e.times[c.number*e.Window+int(s.sent%uint64(e.Window))] = when
		l.out = e.template.append(l.out, uint64(c.number)<<countBits|s.sent)
		s.sent++
	}
	return l.send(c, l.out)
}

func (e *echo) delivered(l *loop, c *conn, number uint64, intact bool) {
	s := &e.states[c.number]
	if intact && !e.Deflate {
		count := number & countMask
		switch {
		case number>>countBits != uint64(c.number), count >= s.sent:
			l.tally.wrong++ // it is somebody else's
			return
		case count < s.back:
			l.tally.duplicates++
			return
		}
		l.tally.lost += count - s.back
		s.back = count
	}
	if s.back == s.sent {
		l.tally.duplicates++
		return
	}
	l.count(e.times[c.number*e.Window+int(s.back%uint64(e.Window))])
	s.back++
	s.owed++
}

func (e *echo) received(l *loop, c *conn) error {
	s := &e.states[c.number]
	owed := s.owed
	s.owed = 0
	if owed == 0 || e.Rate > 0 || l.phase > measuring {
		return nil
	}
	return e.send(l, c, owed, l.now)
}

func (e *echo) answered(*loop, *conn, int) error { return nil }

func (e *echo) drained(l *loop) bool {
	return !slices.ContainsFunc(l.conns, func(c *conn) bool {
		s := &e.states[c.number]
		return s.sent != s.back
	})
}

func (e *echo) finish(r *Report) {
	for _, s := range e.states {
		r.Lost += s.sent - s.back
		r.Overdue += s.sent - s.back
	}
}
