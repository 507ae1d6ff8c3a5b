package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

func TestReadThatEndsBeforeAMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		for range 3 {
			elapsed := stopwatch()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _, err := c.Read(ctx)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, net.ErrClosed) || elapsed() != time.Second {
				t.Fatalf("after %v: %v", elapsed(), err)
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.ErrUnsupported)
		if _, _, err := c.Read(ctx); err != errors.ErrUnsupported {
			t.Errorf("the cause is not told: %v", err)
		}

		// Half a header is no beginning either.
		go p.write(p.frame(wire.Text, true, "")[:3])
		ctx, cancel2 := context.WithTimeout(t.Context(), time.Second)
		defer cancel2()
		if _, _, err := c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			t.Errorf("%v", err)
		}
		go p.write(p.frame(wire.Text, true, "")[3:])
		if _, message, err := c.Read(t.Context()); err != nil || len(message) != 0 {
			t.Errorf("got %q, %v", message, err)
		}

		// What is here is given, even to a context that has ended.
		go p.write(append(p.frame(wire.Text, true, "one"), p.frame(wire.Text, true, "two")...))
		for _, want := range []string{"one", "two"} {
			if _, message, err := c.Read(t.Context()); string(message) != want {
				t.Errorf("got %q, %v", message, err)
			}
		}
	})
}

func TestReadyMessageIsGivenToAnEndedContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		go p.write(append(p.frame(wire.Text, true, "one"), p.frame(wire.Text, true, "two")...))
		c.Read(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, message, err := c.Read(ctx); string(message) != "two" {
			t.Errorf("got %q, %v", message, err)
		}
	})
}

func TestReadThatEndsInsideAMessage(t *testing.T) {
	t.Parallel()
	read := map[string]func(*Conn, context.Context) error{
		"Read": func(c *Conn, ctx context.Context) error {
			_, _, err := c.Read(ctx)
			return err
		},
		"Reader": func(c *Conn, ctx context.Context) error {
			_, r, err := c.Reader(ctx)
			if err != nil {
				return errors.New("no reader: " + err.Error())
			}
			_, err = io.ReadAll(r)
			return err
		},
	}
	for name, read := range read {
		synctest.Test(t, func(t *testing.T) {
			c, p := against(t, wire.Server, Options{})
			p.does(func() {
				p.send(wire.Text, false, "begun")
				p.wantEnd()
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := read(c, ctx)
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func TestReadIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		c.SetReadIdle(10 * time.Second)
		elapsed := stopwatch()
		p.does(func() {
			time.Sleep(8 * time.Second)
			p.send(wire.Pong, true, "") // anything counts
		})
		_, _, err := c.Read(t.Context())
		if err != ErrIdle || elapsed() != 18*time.Second {
			t.Fatalf("after %v: %v", elapsed(), err)
		}
		c.SetReadIdle(0)
		p.does(func() {
			time.Sleep(time.Hour)
			p.send(wire.Text, true, "late")
		})
		if _, message, err := c.Read(t.Context()); string(message) != "late" {
			t.Fatalf("got %q, %v", message, err)
		}
		c.SetReadIdle(time.Second)
		go p.send(wire.Text, false, "begun")
		if _, _, err := c.Read(t.Context()); !errors.Is(err, ErrIdle) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("inside a message: %v", err)
		}
	})
}

func TestUnfinishedMessageHasALimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{MessageTimeout: 30 * time.Second})
		elapsed := stopwatch()
		p.does(func() {
			for range 2 {
				time.Sleep(time.Minute) // between messages there is all the time
				p.send(wire.Text, true, "whole")
			}
			p.send(wire.Text, false, "x")
			for range 29 {
				time.Sleep(time.Second)
				p.send(wire.Continuation, false, "x") // trickling does not help
			}
			p.want(wire.Close, true, closePayload(t, ClosePolicyViolation, "message not finished in time"))
		})
		for range 2 {
			if _, _, err := c.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := c.Read(t.Context())
		wantClosed(t, err, ClosePolicyViolation, false)
		if elapsed() != 150*time.Second {
			t.Errorf("after %v", elapsed())
		}
	})
}

func TestNewReaderSkipsTheOldMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		p.does(func() {
			p.send(wire.Text, false, "read, ")
			p.send(wire.Ping, true, "")
			p.send(wire.Continuation, true, "not read")
			p.send(wire.Text, true, "next")
		})
		go p.drop()
		_, old, err := c.Reader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(old, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if _, message, err := c.Read(t.Context()); string(message) != "next" {
			t.Errorf("got %q, %v", message, err)
		}
		if n, err := old.Read(make([]byte, 4)); n != 0 || err != errStaleReader {
			t.Errorf("old reader: %d, %v", n, err)
		}
	})
}

func TestReaderAfterCloseIsNoWholeMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		p.does(func() {
			p.send(wire.Text, true, "half is read")
			p.want(wire.Close, true, closePayload(t, 1000, ""))
			p.send(wire.Close, true, closePayload(t, 1000, ""))
		})
		_, r, _ := c.Reader(t.Context())
		io.ReadFull(r, make([]byte, 4))
		if err := c.Close(CloseNormal, ""); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadAll(r); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// A slow reader is not the peer's fault.
func TestUnfinishedMessageWaitsForASlowReader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{MessageTimeout: time.Second})
		p.does(func() {
			p.send(wire.Text, false, "slow")
			p.send(wire.Continuation, true, "ly")
		})
		_, r, err := c.Reader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4)
		for _, want := range []string{"slow", "ly"} {
			time.Sleep(time.Hour)
			if n, err := r.Read(b); string(b[:n]) != want {
				t.Errorf("got %q, %v", b[:n], err)
			}
		}
	})
}

func TestMessageThatEndsWithAnEmptyFrame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Client, Options{})
		p.does(func() {
			for _, payload := range []string{"", "x", strings.Repeat("x", 3*bufferBytes)} {
				p.send(wire.Binary, false, payload)
				p.send(wire.Continuation, true, "")
			}
		})
		for _, size := range []int{0, 1, 3 * bufferBytes} {
			if _, message, err := c.Read(t.Context()); len(message) != size || err != nil {
				t.Errorf("got %d bytes of %d, %v", len(message), size, err)
			}
		}
	})
}
