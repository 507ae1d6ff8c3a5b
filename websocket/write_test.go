package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

func TestWriteThatWaitsForOthersCanBeGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		w, err := c.Writer(t.Context(), Binary)
		if err != nil {
			t.Fatal(err)
		}
		p.does(func() { p.want(wire.Binary, false, "begun") })
		io.WriteString(w, "begun")
		w.(interface{ Flush() error }).Flush()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Write(ctx, Text, []byte("waits for the writer")); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
		if err := c.WriteFrames(ctx, AppendMessage(nil, Text, nil)); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
		if _, err := c.Writer(ctx, Text); err != context.DeadlineExceeded {
			t.Errorf("got %v", err)
		}
		waiting := make(chan error, 1)
		go func() { waiting <- c.Write(t.Context(), Text, []byte("usable")) }()
		synctest.Wait()
		go w.Close()
		p.want(wire.Continuation, true, "")
		p.want(wire.Text, true, "usable")
		if err := <-waiting; err != nil {
			t.Error(err)
		}
	})
}

func TestWriteThatEndsInTheMiddle(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(context.Context, *Conn) error{
		"context": func(ctx context.Context, c *Conn) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return c.Write(ctx, Text, []byte("nobody reads"))
		},
		"WriteTimeout": func(ctx context.Context, c *Conn) error {
			c.writeTimeout = time.Second
			return c.WriteFrames(ctx, AppendMessage(nil, Text, []byte("nobody reads")))
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := against(t, wire.Server, Options{})
			elapsed := stopwatch()
			err := write(t.Context(), c)
			timeout, ok := errors.AsType[interface {
				error
				Timeout() bool
			}](err)
			if !ok || !timeout.Timeout() || !errors.Is(err, net.ErrClosed) || elapsed() != time.Second {
				t.Errorf("%s: after %v: %v", name, elapsed(), err)
			}
		})
	}
}

// One slow streaming writer holds up messages, but neither pongs nor the close.
func TestControlFramesGoBetweenFragments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Client, Options{})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _, err := c.Read(t.Context())
			wantClosed(t, err, CloseNormal, true)
		})
		wg.Go(func() {
			w, err := c.Writer(t.Context(), Text)
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(w, "first ")
			w.(interface{ Flush() error }).Flush()
			time.Sleep(time.Hour)
			io.WriteString(w, "last")
			if err := w.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("message after the close: %v", err)
			}
		})
		elapsed := stopwatch()
		p.want(wire.Text, false, "first ")
		p.send(wire.Ping, true, "between")
		p.want(wire.Pong, true, "between")
		p.send(wire.Close, true, closePayload(t, 1000, ""))
		p.want(wire.Close, true, closePayload(t, 1000, ""))
		p.conn.Close()
		if elapsed() != 0 {
			t.Errorf("held up for %v", elapsed())
		}
		wg.Wait()
	})
}

func TestTextThatIsNotUTF8IsNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		if err := c.Write(t.Context(), Text, []byte("\xff")); err != ErrText {
			t.Error(err)
		}
		if _, err := Prepare(Text, []byte("\xff")); err != ErrText {
			t.Error(err)
		}
		for _, bad := range []MessageType{0, 3, wire.Close, wire.Ping} {
			if err := c.Write(t.Context(), bad, nil); err == nil {
				t.Errorf("type %v is sent", bad)
			}
			if _, err := c.Writer(t.Context(), bad); err == nil {
				t.Errorf("type %v is streamed", bad)
			}
		}
		w, _ := c.Writer(t.Context(), Text)
		if _, err := w.Write([]byte("\xff")); err != ErrText {
			t.Error(err)
		}
		go c.Write(t.Context(), Text, []byte("nothing was sent before"))
		p.want(wire.Text, true, "nothing was sent before")

		w, _ = c.Writer(t.Context(), Text)
		go p.want(wire.Text, false, "ab\xe4")
		w.Write([]byte("ab\xe4"))
		w.(interface{ Flush() error }).Flush()
		if err := w.Close(); err != ErrText {
			t.Error(err)
		}
		if err := c.Write(t.Context(), Text, nil); !errors.Is(err, ErrText) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("after half a message: %v", err)
		}
	})
}

func TestClientMasksAreFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Client, Options{})
		const frames = 10000
		go func() {
			for range frames {
				c.Write(t.Context(), Binary, []byte("x"))
			}
		}()
		seen := map[wire.Key]int{}
		for range frames {
			h, _, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			seen[h.Key]++
		}
		// By chance 10,000 of 2^32 keys repeat 0.01 times.
		if len(seen) < frames-3 {
			t.Errorf("%d keys for %d frames", len(seen), frames)
		}
	})
}

func TestWriterFragments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{WriteTimeout: time.Minute})
		big := strings.Repeat("x", 3*bufferBytes)
		p.does(func() {
			w, err := c.Writer(t.Context(), Binary)
			if err != nil {
				t.Error(err)
				return
			}
			for _, part := range []string{"small", big, "a", big[:bufferBytes-1], "b"} {
				if n, err := io.WriteString(w, part); n != len(part) || err != nil {
					t.Errorf("wrote %d of %d, %v", n, len(part), err)
				}
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			if _, err := w.Write(nil); err != errWriterDone {
				t.Error(err)
			}
			if err := w.Close(); err != errWriterDone {
				t.Error(err)
			}
			if err := w.(interface{ Flush() error }).Flush(); err != errWriterDone {
				t.Error(err)
			}
			w, _ = c.Writer(t.Context(), Text)
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
		p.want(wire.Binary, false, "small")
		p.want(wire.Continuation, false, big)
		p.want(wire.Continuation, false, "a"+big[:bufferBytes-1]) // a full buffer
		p.want(wire.Continuation, true, "b")
		p.want(wire.Text, true, "")
	})
}
