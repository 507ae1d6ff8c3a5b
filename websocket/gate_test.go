package websocket

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever gives up waiting, the gate goes on to those who do not.
func TestGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, over := new(gate), make(chan struct{})
		inside, passed, gaveUp := 0, 0, 0
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				ctx := t.Context()
				if i%3 == 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Duration(i)*time.Second)
					defer cancel()
				}
				err := g.lock(ctx, over)
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				if err != nil {
					return
				}
				if inside++; inside != 1 {
					t.Errorf("%d inside", inside)
				}
				time.Sleep(10 * time.Second)
				inside--
				passed++
				g.unlock()
			})
		}
		wg.Wait()
		if gaveUp = 100 - passed; passed < 66 || gaveUp < 20 {
			t.Errorf("%d passed, %d gave up", passed, gaveUp)
		}
		if !g.tryLock() || g.tryLock() {
			t.Error("not free in the end, or not held")
		}
		time.AfterFunc(time.Second, func() { close(over) })
		if err := g.lock(t.Context(), over); err != net.ErrClosed {
			t.Errorf("got %v", err)
		}
	})
}
