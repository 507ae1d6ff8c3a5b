package jetlog

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/topic"
)

// A logHook is called with what is logged.
type logHook func(message string)

func (h logHook) Enabled(context.Context, slog.Level) bool { return true }
func (h logHook) Handle(_ context.Context, r slog.Record) error {
	h(r.Message)
	return nil
}
func (h logHook) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h logHook) WithGroup(string) slog.Handler      { return h }

// Whoever opens a log need not wait for a server that does not answer, for one that
// is not ready, or for what a directory holds.
func TestOpenIsGivenUp(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	wantGivenUp := func(t *testing.T, ctx context.Context, opts *Options) {
		t.Helper()
		if l, err := Open(ctx, opts); err == nil {
			l.Close()
			t.Error("it is open")
		} else if !errors.Is(err, enough) {
			t.Error(err)
		}
	}
	t.Run("no answer", func(t *testing.T) {
		ctx, stop := context.WithCancelCause(t.Context())
		address := testnet.Serve(t, func(conn net.Conn) {
			stop(enough)
			_, _ = conn.Read(make([]byte, 1)) // until the client is gone
		})
		wantGivenUp(t, ctx, &Options{NATS: &NATS{URL: "nats://" + address}})
	})
	t.Run("no JetStream", func(t *testing.T) {
		s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		defer s.Shutdown()
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("the server is not ready")
		}
		ctx, stop := context.WithCancelCause(t.Context())
		logger := slog.New(logHook(func(message string) {
			if message == "waiting for NATS" {
				stop(enough)
			}
		}))
		wantGivenUp(t, ctx, &Options{NATS: &NATS{URL: s.ClientURL()}, Bounds: topic.Bounds{}, Logger: logger})
	})
	t.Run("directory", func(t *testing.T) {
		opts := &Options{Dir: t.TempDir()}
		l, err := Open(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		id, err := l.Append(t.Context(), "a", []topic.Draft{{Data: []byte("x")}}, topic.Key{})
		if err == nil {
			err = l.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancelCause(t.Context())
		stop(enough)
		wantGivenUp(t, ctx, opts)
		if l, err = Open(t.Context(), opts); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if page, err := l.Read(t.Context(), []topic.Interest{{Patterns: []topic.Pattern{pattern1(t, "a")}}}, topic.Limit{}); err != nil || len(page.Entries) != 1 || page.Entries[0].ID != id {
			t.Errorf("%v, %v", page.Entries, err)
		}
	})
}
