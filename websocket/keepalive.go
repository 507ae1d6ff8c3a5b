package websocket

import (
	"context"
	"errors"
	"time"
)

// Keepalive finds out that a peer is gone, and keeps proxies from taking a quiet connection for a
// dead one. It needs somebody to read the connection: pongs arrive no other way.
type Keepalive struct {
	// Interval between pings. If zero or negative, there are none.
	Interval time.Duration

	// Timeout for each pong; the connection ends with [ErrNoPong] after it. If zero or negative,
	// Interval is used.
	Timeout time.Duration
}

// keepAlive starts the goroutine that pings, if one is wanted. Ends when the connection does.
// Joined by Close and CloseNow.
func (c *Conn) keepAlive(k Keepalive) {
	if k.Interval <= 0 {
		return
	}
	c.background.Go(func() {
		ticker := time.NewTicker(k.Interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-c.done:
				return
			}
			ctx, cancel := context.WithTimeoutCause(context.Background(), k.Timeout, ErrNoPong)
			_, err := c.Ping(ctx)
			cancel()
			if errors.Is(err, ErrNoPong) {
				c.lost(ErrNoPong)
			}
			if err != nil {
				return
			}
		}
	})
}
