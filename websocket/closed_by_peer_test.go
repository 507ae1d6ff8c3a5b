package websocket

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// A peer that hangs up behind its close frame has said why, whatever becomes of the answer.
func TestClosedByAPeerThatTakesNoAnswer(t *testing.T) {
	t.Parallel()
	for _, role := range []wire.Role{wire.Server, wire.Client} {
		synctest.Test(t, func(t *testing.T) {
			c, p := against(t, role, Options{})
			p.does(func() {
				p.send(wire.Close, true, closePayload(t, 4001, "gone"))
				p.conn.Close()
			})
			_, _, err := c.Read(t.Context())
			wantClosed(t, err, 4001, true)
			wantClosed(t, c.Write(t.Context(), Text, nil), 4001, true)
			if err := c.Close(CloseNormal, ""); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// The same while a message is on its way, which the peer does not read.
func TestClosedByPeerWhileAnotherWrites(t *testing.T) {
	t.Parallel()
	for _, role := range []wire.Role{wire.Server, wire.Client} {
		synctest.Test(t, func(t *testing.T) {
			c, p := against(t, role, Options{})
			p.does(func() { wantClosed(t, c.Write(t.Context(), Text, []byte("nobody reads")), 4001, true) })
			p.does(func() {
				_, _, err := c.Read(t.Context())
				wantClosed(t, err, 4001, true)
			})
			synctest.Wait()
			p.send(wire.Close, true, closePayload(t, 4001, "gone"))
			synctest.Wait() // the answer waits for the message
			p.conn.Close()
		})
	}
}

// deafConn is a connection whose peer has said something and takes nothing more.
type deafConn struct {
	net.Conn // is read when there is nothing left
	said     *bytes.Buffer
	offered  int // writes
}

var errDeaf = errors.New("the peer takes nothing")

func (c *deafConn) Read(p []byte) (int, error) {
	if c.said.Len() > 0 {
		return c.said.Read(p)
	}
	return c.Conn.Read(p)
}

func (c *deafConn) Write([]byte) (int, error) {
	c.offered++
	return 0, errDeaf
}

// deaf gives a connection to a peer that has said this.
func deaf(t *testing.T, role wire.Role, said func(*peer) []byte) (*Conn, *deafConn, net.Conn) {
	a, b := net.Pipe()
	t.Cleanup(func() { b.Close() })
	below := &deafConn{Conn: a, said: bytes.NewBuffer(said(&peer{role: 1 - role}))}
	c := newConn(below, role, "", Options{}, nil)
	t.Cleanup(c.CloseNow)
	return c, below, b
}

// Who writes first to a peer that has closed hears why, too: by whatever way he writes.
func TestWriteFindsTheCloseOfPeer(t *testing.T) {
	t.Parallel()
	ways := map[string]func(context.Context, *Conn) error{
		"Write": func(ctx context.Context, c *Conn) error { return c.Write(ctx, Text, []byte("x")) },
		"long":  func(ctx context.Context, c *Conn) error { return c.Write(ctx, Binary, make([]byte, 3*bufferBytes)) },
		"Ping":  func(ctx context.Context, c *Conn) error { return second(c.Ping(ctx)) },
		"Writer": func(ctx context.Context, c *Conn) error {
			w, err := c.Writer(ctx, Text)
			if err != nil {
				return err
			}
			return w.Close()
		},
		"CloseWrite": func(ctx context.Context, c *Conn) error { return c.CloseWrite(ctx, CloseNormal, "") },
		"after a pong": func(ctx context.Context, c *Conn) error {
			c.answer([]byte("ping")) // as who reads does
			if over := c.over(); over != nil {
				t.Errorf("a pong that cannot be sent is the end of all: %v", over)
			}
			return c.Write(ctx, Text, nil)
		},
	}
	for _, role := range []wire.Role{wire.Server, wire.Client} {
		for name, write := range ways {
			synctest.Test(t, func(t *testing.T) {
				c, below, _ := deaf(t, role, func(p *peer) []byte {
					said := p.frame(wire.Text, true, "nobody has read this")
					said = append(said, p.frame(wire.Ping, true, "")...)
					return append(said, p.frame(wire.Close, true, closePayload(t, 4001, "gone"))...)
				})
				elapsed := stopwatch()
				wantClosed(t, write(t.Context(), c), 4001, true)
				_, _, err := c.Read(t.Context())
				wantClosed(t, err, 4001, true)
				if err := c.Close(CloseNormal, ""); err != nil {
					t.Errorf("%s: close: %v", name, err)
				}
				if elapsed() != 0 || below.offered != 1 {
					t.Errorf("%s: after %v and %d writes", name, elapsed(), below.offered)
				}
			})
		}
	}
}

// Who reads gets what came before, also when his pongs cannot be sent.
func TestReadOfAPeerThatTakesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := deaf(t, wire.Client, func(p *peer) []byte {
			said := append(p.frame(wire.Ping, true, ""), p.frame(wire.Text, true, "last words")...)
			return append(said, p.frame(wire.Close, true, closePayload(t, 4001, "gone"))...)
		})
		if _, message, err := c.Read(t.Context()); string(message) != "last words" || err != nil {
			t.Errorf("read %q, %v", message, err)
		}
		_, _, err := c.Read(t.Context())
		wantClosed(t, err, 4001, true)
	})
}

// If the peer has not closed, a write that fails is the end for the reason that it failed: as soon
// as the other way ends, too, or after a while, or with the context.
func TestWriteFindsNoClose(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		reads        bool
		ends         time.Duration // the other way
		within, want time.Duration
	}{
		"ends":                   {ends: time.Millisecond, within: time.Hour, want: time.Millisecond},
		"silent":                 {ends: time.Hour, within: time.Hour, want: defaultCloseTimeout},
		"silent, and short time": {ends: time.Hour, within: defaultCloseTimeout / 2, want: defaultCloseTimeout / 2},
		"another reads":          {reads: true, ends: time.Hour, within: time.Hour, want: defaultCloseTimeout},
		"another reads the end":  {reads: true, ends: time.Millisecond, within: time.Hour, want: time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			c, _, other := deaf(t, wire.Client, func(p *peer) []byte { return p.frame(wire.Text, true, "x")[:2] })
			reader := make(chan error, 1)
			if tt.reads {
				go func() {
					_, _, err := c.Read(context.Background())
					reader <- err
				}()
				synctest.Wait()
			}
			end := time.AfterFunc(tt.ends, func() { other.Close() })
			defer end.Stop()
			ctx, cancel := context.WithTimeout(t.Context(), tt.within)
			defer cancel()
			elapsed := stopwatch()
			err := c.Write(ctx, Text, nil)
			if !errors.Is(err, errDeaf) || !errors.Is(err, net.ErrClosed) || elapsed() != tt.want {
				t.Errorf("%s: after %v: %v", name, elapsed(), err)
			}
			if tt.reads {
				if err := <-reader; !errors.Is(err, errDeaf) {
					t.Errorf("%s: the reader: %v", name, err)
				}
			}
			if _, _, err := c.Read(t.Context()); !errors.Is(err, errDeaf) {
				t.Errorf("%s: read: %v", name, err)
			}
		})
	}
}
