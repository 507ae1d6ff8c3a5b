package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// A talk is what somebody types, or pipes, over one connection after the other.
type talk struct {
	*wsCommand
	log    *transcript
	person bool // who sees a prompt, and may be wrong
	input  *input
	unsent *string // the line that the last connection did not take, or nil
}

// talk ends with the input, the connection or the context.
func (c *wsCommand) talk(ctx context.Context, d *dialler, out *console) error {
	t := &talk{wsCommand: c, log: d.log, person: isTerminal(out.in) && isTerminal(out.err)}
	defer t.log.askNoMore()
	var retry backoff
	for reached := false; ; {
		began := time.Now()
		s, err := d.connect(ctx)
		if err == nil {
			reached = true
			if t.input == nil {
				t.input = readInput(ctx, out.in)
			}
			err = t.over(ctx, s)
			s.end()
		}
		if errors.Is(err, errGoodbye) {
			return nil
		}
		if err == nil || !c.Reconnect || !passing(ctx, err) {
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

// passing reports whether another attempt may go better.
func passing(ctx context.Context, err error) bool {
	if e, ok := errors.AsType[*websocket.HandshakeError](err); ok {
		return e.Status >= 500 || e.Status == http.StatusTooManyRequests
	}
	if e, ok := errors.AsType[*websocket.CloseError](err); ok {
		return e.Remote
	}
	code, _ := explain(ctx, err)
	return code == exitUnreached
}

// A backoff doubles the time between attempts, so that neither a server that is
// away nor one that closes at once is asked without a pause.
type backoff struct{ last time.Duration }

const (
	firstWait   = 500 * time.Millisecond
	longestWait = 30 * time.Second
)

// next is the time to wait after an attempt that lasted so long, the
// connection that it may have led to included.
func (b *backoff) next(lasted time.Duration) time.Duration {
	if b.last == 0 || lasted >= 2*longestWait {
		b.last = firstWait
	} else {
		b.last = min(2*b.last, longestWait)
	}
	return b.last/2 + rand.N(b.last/2) // so that many clients do not come at once
}

// over talks over one connection. The error is why it cannot go on; nil is a
// goodbye.
func (t *talk) over(ctx context.Context, s *session) error {
	if t.person {
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
			if t.person {
				t.log.ask()
			}
		case m := <-s.incoming:
			quiet.Reset(t.Wait)
			if m.err != nil {
				return m.err
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
	if e, ok := errors.AsType[usageError](err); ok && t.person {
		t.log.note("%v", e)
		return nil
	}
	if errors.Is(err, net.ErrClosed) {
		t.unsent = &line
	}
	return err
}

// An input is read line by line.
type input struct {
	lines <-chan string
	err   error // to be read when lines is closed
}

// readInput starts to read. It is not joined, because nothing can interrupt a
// read of standard input; it holds up nothing else.
func readInput(ctx context.Context, in io.Reader) *input {
	lines := make(chan string)
	i := &input{lines: lines}
	// Ends with the input.
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(in)
		scanner.Buffer(nil, maxLine)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
		if err := scanner.Err(); errors.Is(err, bufio.ErrTooLong) {
			i.err = fmt.Errorf("standard input: a line of more than %d bytes", maxLine)
		} else if err != nil {
			i.err = fmt.Errorf("read standard input: %w", err)
		}
	}()
	return i
}
