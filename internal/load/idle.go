//go:build linux

package load

import (
	"context"
	"errors"
	"slices"
)

// touchedAtOnce is how many connections wait for their only message: the
// server shall not need memory for more of them at a time than it would under
// a light load.
const touchedAtOnce = 16

// IdleOptions are those of [Idle]. What is held for Options.Duration is
// connections on which nothing happens.
type IdleOptions struct {
	Options
	Transport   Transport
	Path        string // default "/echo"
	Connections int
	TouchBytes  int // size of one message that each connection has echoed first; 0: they are left untouched
}

// Idle holds connections. [Report.RSSPerConnection] says what they cost: before
// each was touched and after.
func Idle(ctx context.Context, options IdleOptions) (*Report, error) {
	if options.Path == "" {
		options.Path = "/echo"
	}
	bytes := options.TouchBytes
	switch {
	case bytes == 0:
		bytes = MinBytes // that nobody sends
	case options.Transport != WebSocket && options.Transport != Raw:
		return nil, errors.New("only WebSocket and raw connections can be touched")
	}
	n := max(options.Connections, 0)
	return execute(ctx, options.Options, plan{
		work:  &idle{IdleOptions: options, touched: make([]bool, n)},
		name:  "idle",
		vias:  slices.Repeat([]Transport{options.Transport}, n),
		bytes: bytes,
	})
}

type idle struct {
	plain
	IdleOptions
	run      *run
	template template
	touched  []bool // by connection: its message is back
}

func (w *idle) prepare(r *run) error {
	w.run = r
	w.template = r.newTemplate(w.Transport, false)
	return nil
}

func (w *idle) request(dst []byte, c *conn) []byte {
	return w.run.appendOpening(dst, c.via, w.Path)
}

func (w *idle) turn(l *loop) (due int64, err error) {
	for l.cursor < min(touchedAtOnce, len(l.conns)) {
		if err := w.touch(l); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// touch sends a message on the next connection.
func (w *idle) touch(l *loop) error {
	if w.TouchBytes == 0 || l.cursor >= len(l.conns) {
		l.cursor++
		return nil
	}
	c := l.conns[l.cursor]
	l.cursor++
	l.out = w.template.append(l.out[:0], uint64(c.number)<<countBits)
	return l.send(c, l.out)
}

func (w *idle) delivered(l *loop, c *conn, number uint64, intact bool) {
	switch {
	case w.TouchBytes == 0, intact && number != uint64(c.number)<<countBits:
		l.tally.wrong++ // nothing was asked for, or not this
	case w.touched[c.number]:
		l.tally.duplicates++
	default:
		w.touched[c.number] = true
	}
}

func (w *idle) received(l *loop, c *conn) error {
	if w.touched[c.number] {
		return w.touch(l)
	}
	return nil
}

func (w *idle) answered(*loop, *conn, int) error { return nil }

func (w *idle) drained(l *loop) bool {
	return w.TouchBytes == 0 || !slices.ContainsFunc(l.conns, func(c *conn) bool { return !w.touched[c.number] })
}

func (w *idle) finish(r *Report) {
	for _, touched := range w.touched {
		if !touched && w.TouchBytes > 0 {
			r.Lost++
			r.Overdue++
		}
	}
}
