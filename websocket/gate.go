package websocket

import (
	"context"
	"net"
	"sync/atomic"
)

// gate lets one goroutine through at a time. Unlike with a mutex, waiting for it ends with a
// context, and whoever is inside may do I/O.
type gate struct {
	state atomic.Uint32
	wake  atomic.Pointer[chan struct{}] // tells one of those who wait to look again; nil until somebody did
}

const (
	gateFree      = iota
	gateHeld      // and nobody waits
	gateContended // held, and somebody may wait
)

func (g *gate) tryLock() bool { return g.state.CompareAndSwap(gateFree, gateHeld) }

// lock waits until ctx ends or over is closed.
func (g *gate) lock(ctx context.Context, over <-chan struct{}) error {
	if g.tryLock() {
		return nil
	}
	return g.wait(ctx, over)
}

func (g *gate) wait(ctx context.Context, over <-chan struct{}) error {
	if g.wake.Load() == nil {
		wake := make(chan struct{}, 1)
		g.wake.CompareAndSwap(nil, &wake)
	}
	wake := *g.wake.Load()
	// Who comes through here leaves the gate contended, because others may still wait. A wake-up
	// too many does no harm.
	for g.state.Swap(gateContended) != gateFree {
		select {
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over:
			return net.ErrClosed
		}
	}
	return nil
}

func (g *gate) unlock() {
	if g.state.Swap(gateFree) == gateContended {
		select {
		case *g.wake.Load() <- struct{}{}:
		default: // a wake-up is pending already
		}
	}
}
