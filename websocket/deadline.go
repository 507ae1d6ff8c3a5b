package websocket

import (
	"context"
	"os"
	"sync"
	"time"
)

// deadlines are those of a net.Conn.
type deadlines struct{ readBy, writeBy deadline }

// newDeadlines makes those of a stream that the context bounds.
func newDeadlines(ctx context.Context) deadlines {
	return deadlines{readBy: deadline{base: ctx}, writeBy: deadline{base: ctx}}
}

func (d *deadlines) SetDeadline(t time.Time) error {
	d.readBy.set(t)
	d.writeBy.set(t)
	return nil
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.readBy.set(t)
	return nil
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.writeBy.set(t)
	return nil
}

// deadline is one of them, for operations that take a context. It holds for those under way too.
type deadline struct {
	base context.Context // of the stream

	mu     sync.Mutex // guards what follows
	passed bool
	timer  *time.Timer
	under  map[*context.CancelCauseFunc]struct{} // operations under way
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.passed = false
	if t.IsZero() {
		return
	}
	if wait := time.Until(t); wait > 0 {
		var timer *time.Timer
		timer = time.AfterFunc(wait, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.timer == timer { // else it was set anew
				d.pass()
			}
		})
		d.timer = timer
		return
	}
	d.pass()
}

func (d *deadline) pass() {
	d.passed = true
	for cancel := range d.under {
		(*cancel)(os.ErrDeadlineExceeded)
	}
}

// begin gives the context of an operation, and a function for its end.
func (d *deadline) begin() (context.Context, func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed {
		return nil, nil, os.ErrDeadlineExceeded
	}
	ctx, cancel := context.WithCancelCause(d.base)
	if d.under == nil {
		d.under = map[*context.CancelCauseFunc]struct{}{}
	}
	d.under[&cancel] = struct{}{}
	return ctx, func() {
		d.mu.Lock()
		delete(d.under, &cancel)
		d.mu.Unlock()
		cancel(nil)
	}, nil
}
