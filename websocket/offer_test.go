package websocket

import (
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// An offer is taken whatever is pending, and who offered is told when it has left.
func TestOffer(t *testing.T) {
	t.Parallel()
	for _, w := range ways[1:] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			const frames = 100
			frame := AppendMessage(nil, Binary, hundred)
			drained, kept := make(chan struct{}, frames), make(chan struct{})
			s := newSite(t, w, ServerOptions{MaxPending: 1000, SendBuffer: 64 << 10}, func(h *hooks) {
				h.drained = func(*EventConn) { drained <- struct{}{} }
				h.open = func(c talker) {
					for range frames {
						taken, err := c.(*EventConn).Offer(frame)
						if err != nil {
							t.Error(err)
						}
						if !taken && kept != nil {
							close(kept)
							kept = nil
						}
					}
					if err := c.Write(Text, []byte("no room")); err != ErrFull {
						t.Errorf("Write: %v", err)
					}
				}
			})
			waits := kept
			p := s.dial()
			<-waits
			for range frames {
				p.want(wire.Binary, true, string(hundred))
			}
			<-drained
		})
	}
}

// Who is silent is lost.
func TestEventReadIdle(t *testing.T) {
	t.Parallel()
	for _, w := range ways[1:] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, w, ServerOptions{}, func(h *hooks) {
				h.open = func(c talker) { c.(*EventConn).SetReadIdle(300 * time.Millisecond) }
			})
			s.dial()
			s.wantLost(ErrIdle)
		})
	}
}
