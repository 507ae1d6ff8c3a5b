package wstalk

import (
	"context"
	"errors"
	"net"
	"time"
)

// A talk is what somebody types, or pipes, over one connection after the other.
type talk struct {
	*Options
	log    *transcript
	input  *input
	unsent *string // the line that the last connection did not take, or nil
}

// talkOver ends with the input, the connection or the context.
func talkOver(ctx context.Context, d *dialler, opts *Options) error {
	t := &talk{Options: opts, log: d.log}
	defer t.log.askNoMore()
	var retry backoff
	for reached := false; ; {
		began := time.Now()
		s, err := d.connect(ctx)
		if err == nil {
			reached = true
			if t.input == nil {
				t.input = readInput(ctx, t.In)
			}
			err = t.over(ctx, s)
			s.end()
		}
		if errors.Is(err, errGoodbye) {
			return nil
		}
		if err == nil || !t.Reconnect || !passing(ctx, err) {
			return err
		}
		t.log.askNoMore()
		wait := retry.next(time.Since(began))
		t.log.note("%v; connecting again in %v", err, wait.Round(10*time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			if reached {
				return nil // the way for a person to end it
			}
			return context.Cause(ctx)
		}
	}
}

// over talks over one connection. The error is why it cannot go on; nil is a
// goodbye.
func (t *talk) over(ctx context.Context, s *session) error {
	if t.Person {
		t.log.ask()
	}
	if t.unsent != nil {
		if err := t.say(ctx, s, *t.unsent); err != nil {
			return err
		}
	}
	lines := t.input.lines
	quiet := time.NewTimer(t.Wait)
	defer quiet.Stop()
	for {
		select {
		case line, ok := <-lines:
			quiet.Reset(t.Wait)
			if !ok {
				if t.input.err != nil {
					return t.input.err
				}
				lines = nil // never ready
				continue
			}
			if err := t.say(ctx, s, line); err != nil {
				return err
			}
			if t.Person {
				t.log.ask()
			}
		case _, ok := <-s.incoming:
			quiet.Reset(t.Wait)
			if !ok {
				return s.err
			}
		case <-quiet.C:
			if lines == nil && !t.Reconnect {
				return nil
			}
		case <-ctx.Done():
			return nil // the way for a person to end it
		}
	}
}

// say does what a line says, and keeps it if the connection was lost before.
func (t *talk) say(ctx context.Context, s *session, line string) error {
	t.unsent = nil
	err := t.obey(ctx, s, line)
	if e, ok := errors.AsType[UsageError](err); ok && t.Person {
		t.log.note("%v", e)
		return nil
	}
	if errors.Is(err, net.ErrClosed) {
		t.unsent = &line
	}
	return err
}
