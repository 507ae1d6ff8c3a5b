package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// longestWait bounds what a server can ask for.
const longestWait = time.Hour

// A backoff says how long to wait after failures in a row (PROTOCOL.md §15.6).
type backoff struct {
	first, most time.Duration
	failures    int
}

// next is the wait after one more failure: what the server asked for and up to
// half as much again, else any time below a bound, and from the second failure
// on between half and the whole of one that doubles: so that those who were cut
// at the same time spread, and nobody is far behind the others.
func (b *backoff) next(asked time.Duration) time.Duration {
	bound := b.first
	for range b.failures {
		if bound *= 2; bound >= b.most {
			bound = b.most
			break
		}
	}
	b.failures++
	switch asked = min(asked, longestWait); {
	case asked > 0:
		return asked + rand.N(asked/2+1)
	case b.failures == 1:
		return rand.N(bound + 1)
	}
	return bound/2 + rand.N(bound/2+1)
}

func (b *backoff) succeeded() { b.failures = 0 }

func (c *Client) newBackoff() backoff {
	return backoff{first: c.opts.Backoff, most: c.opts.MaxBackoff}
}

// waitFor decides whether to try again after a failure, and when. asked is
// what the server wants.
func (c *Client) waitFor(b *backoff, cause error, asked time.Duration) (wait time.Duration, again bool) {
	if e, ok := errors.AsType[*ProblemError](cause); ok {
		asked = max(asked, e.RetryAfter)
	}
	wait = b.next(asked)
	return wait, temporary(cause) && (c.opts.Retry == nil || c.opts.Retry(cause, wait))
}

// pause is what follows a failure: it decides whether to try again and waits
// until then. It returns why not, or nil.
func (c *Client) pause(ctx context.Context, b *backoff, cause error, asked time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	wait, again := c.waitFor(b, cause, asked)
	if !again {
		return cause
	}
	return sleep(ctx, wait)
}

// closeWait is what the reason of a close asks for: a server that stops wants
// its clients not to come back at once (PROTOCOL.md §15.6).
func closeWait(err error) time.Duration {
	e, ok := errors.AsType[*websocket.CloseError](err)
	if ok && e.Remote && e.Code == websocket.CloseGoingAway {
		return time.Second + rand.N(5*time.Second/3) // and up to half as much again
	}
	return 0
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
