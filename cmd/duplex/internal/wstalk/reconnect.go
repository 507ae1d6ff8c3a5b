package wstalk

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// passing reports whether another attempt may go better.
func passing(ctx context.Context, err error) bool {
	if e, ok := errors.AsType[*websocket.HandshakeError](err); ok {
		return e.Status >= 500 || e.Status == http.StatusTooManyRequests
	}
	if e, ok := errors.AsType[*websocket.CloseError](err); ok {
		return e.Remote
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return false
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true // not reached, or broken
	}
	return errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
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
