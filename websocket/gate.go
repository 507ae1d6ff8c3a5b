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
	wake  chan struct{} // tells one of those who wait to look again
}

const (
	gateFree      = iota
	gateHeld      // and nobody waits
	gateContended // held, and somebody may wait
)

func newGate() gate { return gate{wake: make(chan struct{}, 1)} }

func (g *gate) tryLock() bool { return g.state.CompareAndSwap(gateFree, gateHeld) }

// lock waits until ctx ends or over is closed.
func (g *gate) lock(ctx context.Context, over <-chan struct{}) error {
	if g.tryLock() {
		return nil
	}
	// Who comes through here leaves the gate contended, because others may still wait. A wake-up
	// too many does no harm.
	for g.state.Swap(gateContended) != gateFree {
		select {
		case <-g.wake:
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
		case g.wake <- struct{}{}:
		default: // a wake-up is pending already
		}
	}
}
