package websocket

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

func TestNetConnIsAStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(t, Options{})
		server, client := NetConn(t.Context(), a, Binary), NetConn(t.Context(), b, Text)
		var wg sync.WaitGroup
		wg.Go(func() {
			for _, part := range []string{"one ", "", "two ", "three"} {
				if n, err := io.WriteString(client, part); n != len(part) || err != nil {
					t.Errorf("%q: %d, %v", part, n, err)
				}
			}
			if err := client.Close(); err != nil {
				t.Error(err)
			}
		})
		p := make([]byte, 6)
		if _, err := io.ReadFull(server, p); string(p) != "one tw" || err != nil {
			t.Errorf("got %q, %v", p, err)
		}
		rest, err := io.ReadAll(server)
		if string(rest) != "o three" || err != nil {
			t.Errorf("got %q, %v", rest, err)
		}
		wg.Wait()
		if server.LocalAddr() == nil || server.RemoteAddr() == nil {
			t.Error("no addresses")
		}
	})
}

func TestNetConnDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		stream := NetConn(t.Context(), c, Binary)
		p.does(func() {
			p.send(wire.Binary, false, "half")
			time.Sleep(10 * time.Second)
			p.send(wire.Continuation, true, " whole")
		})
		b := make([]byte, 100)
		if n, err := stream.Read(b); string(b[:n]) != "half" {
			t.Fatalf("got %q, %v", b[:n], err)
		}
		elapsed := stopwatch()
		stream.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := stream.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) || elapsed() != time.Second {
			t.Errorf("after %v: %v", elapsed(), err)
		}
		if _, err := stream.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) || elapsed() != time.Second {
			t.Errorf("again after %v: %v", elapsed(), err)
		}
		// It can be moved while a read waits.
		stream.SetDeadline(time.Now().Add(time.Hour))
		go func() {
			time.Sleep(time.Second)
			stream.SetReadDeadline(time.Now())
		}()
		if _, err := stream.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) || elapsed() != 2*time.Second {
			t.Errorf("moved: after %v: %v", elapsed(), err)
		}
		stream.SetDeadline(time.Time{})
		if n, err := stream.Read(b); string(b[:n]) != " whole" || elapsed() != 10*time.Second {
			t.Errorf("after %v: %q, %v", elapsed(), b[:n], err)
		}
		stream.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := stream.Write(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write: %v", err)
		}
		if _, err := stream.Read(b); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after half a write: %v", err)
		}
	})
}

func TestNetConnTellsABadEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, p := against(t, wire.Server, Options{})
		go p.drop()
		go p.send(wire.Close, true, closePayload(t, CloseInternalError, "broken"))
		_, err := NetConn(t.Context(), c, Binary).Read(make([]byte, 1))
		wantClosed(t, err, CloseInternalError, true)
	})
}
