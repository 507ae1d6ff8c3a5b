package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// longestWait bounds what a server can ask for.
const longestWait = time.Hour

// A backoff says how long to wait after failures in a row.
type backoff struct {
	first, most time.Duration
	failures    int
}

// next is the wait after one more failure: at least what the server asked
// for, and half as much again at most.
func (b *backoff) next(asked time.Duration) time.Duration {
	wait := b.first
	for range b.failures {
		if wait *= 2; wait >= b.most {
			wait = b.most
			break
		}
	}
	b.failures++
	wait = wait/2 + rand.N(wait+1) // half of it to one and a half
	if asked = min(asked, longestWait); asked > wait {
		wait = asked + rand.N(asked/2+1)
	}
	return wait
}

func (b *backoff) succeeded() { b.failures = 0 }

// pause is what follows a failure: it decides whether to try again and waits
// until then. It returns why not, or nil.
func (c *Client) pause(ctx context.Context, b *backoff, cause error, asked time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !temporary(cause) {
		return cause
	}
	if e, ok := errors.AsType[*ProblemError](cause); ok {
		asked = max(asked, e.RetryAfter)
	}
	wait := b.next(asked)
	if c.opts.Retry != nil && !c.opts.Retry(cause, wait) {
		return cause
	}
	return sleep(ctx, wait)
}

func (c *Client) newBackoff() backoff {
	return backoff{first: c.opts.Backoff, most: c.opts.MaxBackoff}
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
