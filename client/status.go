package client

import (
	"context"
	"iter"
	"time"
)

// A State is what a client is doing for its subscriptions.
type State string

const (
	Idle       State = "idle" // there is none, for 3 s if they shared a connection
	Connecting State = "connecting"
	Connected  State = "connected"
	Waiting    State = "waiting" // for the next attempt
	Closed     State = "closed"
)

// A Status is how a client is.
type Status struct {
	State     State
	Transport Transport     // of the connection; "" if there is none
	Version   string        // of HTTP, such as "HTTP/1.1"
	Latency   time.Duration // from the beginning of the connection to its first signal
	Since     time.Time     // of State and Transport

	// Failed says why transports do not work that the present one was preferred
	// to, or that were tried in vain. It must not be changed.
	Failed map[Transport]error

	// Err is why there is no connection, and Retry when the next attempt is.
	Err   error
	Retry time.Time
}

// Status says how the client is. Publishing is not part of it: see Unsent.
func (c *Client) Status() Status {
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	return c.status
}

// Changes yields the status, and then each time that it has changed, until ctx
// is done or the client is closed. A slow loop misses what was in between.
func (c *Client) Changes(ctx context.Context) iter.Seq[Status] {
	return func(yield func(Status) bool) {
		for {
			c.statusMu.Lock()
			status, changed := c.status, c.changed
			c.statusMu.Unlock()
			if !yield(status) || status.State == Closed {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (c *Client) setStatus(status Status) {
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	status.Since = time.Now()
	if status.State == c.status.State && status.Transport == c.status.Transport {
		status.Since = c.status.Since
	}
	c.status = status
	close(c.changed)
	c.changed = make(chan struct{})
}
