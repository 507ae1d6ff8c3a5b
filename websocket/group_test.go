package websocket

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

func TestWaysShutdown(t *testing.T) {
	t.Parallel()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			group := new(Group)
			s := newSite(t, w, ServerOptions{AcceptOptions: AcceptOptions{Group: group}}, nil)
			for range 3 {
				p := s.dial()
				p.send(wire.Text, true, "x")
				p.want(wire.Text, true, "x")
				p.does(func() {
					p.want(wire.Close, true, closePayload(t, 1001, ""))
					p.send(wire.Close, true, closePayload(t, 1001, ""))
					p.wantEnd()
					p.conn.Close()
				})
			}
			if n := group.Len(); n != 3 {
				t.Errorf("%d members", n)
			}
			if err := group.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			for range 3 {
				s.wantClosedEnd(CloseGoingAway, false)
			}
			if n := group.Len(); n != 0 {
				t.Errorf("%d members afterwards", n)
			}
			_, _, err := Dial(t.Context(), "ws"+s.server.URL[4:], &DialOptions{TLS: s.tlsConfig()})
			if refusal, ok := errors.AsType[*HandshakeError](err); !ok || refusal.Status != http.StatusServiceUnavailable {
				t.Errorf("handshake after shutdown: %v", err)
			}
		})
	}
}

func TestWaysShutdownHasADeadline(t *testing.T) {
	t.Parallel()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			group := new(Group)
			opts := ServerOptions{AcceptOptions: AcceptOptions{Group: group, Options: Options{CloseTimeout: time.Hour}}}
			s := newSite(t, w, opts, nil)
			silent := s.dial()
			silent.send(wire.Text, true, "x")
			silent.want(wire.Text, true, "x")
			gone := errors.New("deadline")
			ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, gone)
			defer cancel()
			if err := group.Shutdown(ctx); err != gone {
				t.Errorf("got %v", err)
			}
			if group.Len() != 0 {
				t.Error("still a member")
			}
			silent.wantGone()
		})
	}
}
