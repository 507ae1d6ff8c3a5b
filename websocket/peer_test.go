package websocket

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// peer is the other end of a connection, spoken to in bytes.
type peer struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	role wire.Role
	wg   sync.WaitGroup
}

// against gives a connection in the given role, and its peer.
func against(t *testing.T, role wire.Role, options Options) (*Conn, *peer) {
	t.Helper()
	a, b := net.Pipe()
	c := newConn(a, role, "", options, nil)
	t.Cleanup(c.CloseNow)
	t.Cleanup(func() { b.Close() })
	p := &peer{t: t, conn: b, r: bufio.NewReader(b), role: 1 - role}
	t.Cleanup(p.wg.Wait) // the first of the three to run
	return c, p
}

// does runs f beside the test, which ends only after it.
func (p *peer) does(f func()) { p.wg.Go(f) }

// frame encodes a frame as this peer's role wants it.
func (p *peer) frame(opcode wire.Opcode, fin bool, payload string) []byte {
	if p.role == wire.Client {
		return wire.AppendMaskedFrame(nil, opcode, fin, 0x3d21fa37, []byte(payload))
	}
	return wire.AppendFrame(nil, opcode, fin, []byte(payload))
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Errorf("peer's write: %v", err)
	}
}

func (p *peer) send(opcode wire.Opcode, fin bool, payload string) {
	p.t.Helper()
	p.write(p.frame(opcode, fin, payload))
}

// next reads a frame.
func (p *peer) next() (wire.Header, string, error) {
	var head []byte
	for {
		b, err := p.r.ReadByte()
		if err != nil {
			return wire.Header{}, "", err
		}
		head = append(head, b)
		h, n, err := wire.ParseHeader(head)
		if err != nil {
			return h, "", err
		}
		if n == 0 {
			continue
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(p.r, payload); err != nil {
			return h, "", err
		}
		if h.Masked {
			h.Key.Mask(payload)
		}
		return h, string(payload), nil
	}
}

// want reads a frame that must be this one.
func (p *peer) want(opcode wire.Opcode, fin bool, payload string) {
	p.t.Helper()
	h, got, err := p.next()
	if err != nil || h.Opcode != opcode || h.Fin != fin || got != payload || h.RSV != 0 || h.Masked != (p.role == wire.Server) {
		p.t.Errorf("peer got %+v %.100q, %v; want %v %v %.100q", h, got, err, opcode, fin, payload)
	}
}

// wantEnd reads the end of the connection.
func (p *peer) wantEnd() {
	p.t.Helper()
	if b, err := p.r.ReadByte(); err != io.EOF {
		p.t.Errorf("peer got %#x, %v; want the end", b, err)
	}
}

// drop reads and drops everything.
func (p *peer) drop() { io.Copy(io.Discard, p.r) }

func closePayload(t *testing.T, code CloseCode, reason string) string {
	t.Helper()
	payload, err := wire.AppendClose(nil, code, reason)
	if err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

// stopwatch gives the time since it was started, which in a bubble is exact.
func stopwatch() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

func repeat(b []byte, n int) []byte { return bytes.Repeat(b, n) }
