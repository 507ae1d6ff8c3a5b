package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// Ping sends a ping and waits for its pong, which takes a read of this connection to arrive. It
// gives the time between the two.
func (c *Conn) Ping(ctx context.Context) (time.Duration, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if err := c.beginFrame(ctx); err != nil {
		return 0, err
	}
	payload, pong := c.pings.add()
	err := c.writeFrame(ctx, wire.Ping, payload)
	c.endFrame()
	if err != nil {
		c.pings.forget(pong)
		return 0, err
	}
	return c.pings.wait(ctx, pong, c.done, c.over)
}

// WritePing sends a ping with a payload of at most 125 bytes, and does not wait for its pong, which
// only [Options].Observe shows: for tests of peers. See [Conn.Ping] to learn that a peer is there.
func (c *Conn) WritePing(ctx context.Context, payload []byte) error {
	return c.writeControl(ctx, wire.Ping, payload)
}

// WritePong sends a pong that no ping asked for, "a unidirectional heartbeat" (RFC 6455 §5.5.3), with
// a payload of at most 125 bytes. Pings are answered without it.
func (c *Conn) WritePong(ctx context.Context, payload []byte) error {
	return c.writeControl(ctx, wire.Pong, payload)
}

var errControlLength = errors.New("websocket: control payload longer than 125 bytes") // §5.5

func (c *Conn) writeControl(ctx context.Context, opcode wire.Opcode, payload []byte) error {
	if len(payload) > wire.MaxControlPayload {
		return errControlLength
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := c.beginFrame(ctx); err != nil {
		return err
	}
	defer c.endFrame()
	return c.writeFrame(ctx, opcode, payload)
}

// Latency gives the round trip of the last ping that was answered, or 0.
func (c *Conn) Latency() time.Duration { return time.Duration(c.pings.latency.Load()) }

// answer leaves a pong to be sent, at once if nobody is writing. It never waits for a writer. A
// ping that comes before the one before it was answered takes its place (RFC 6455 §5.5.3 allows
// to answer only the last), so there is never more than one pong to send, however many pings a
// peer sends without reading.
func (c *Conn) answer(ping []byte) {
	payload := slices.Clone(ping)
	c.pong.Store(&payload)
	c.sendPong()
}

// sendPong sends the pong that is left, unless somebody is writing: he will.
func (c *Conn) sendPong() {
	for c.pong.Load() != nil && c.writing.tryLock() {
		if payload := c.pong.Swap(nil); payload != nil && c.out.closing == nil {
			c.out.bound(controlTimeout)
			c.out.aside = true
			// An error has ended the connection; whoever reads or writes will be told.
			c.writeFrame(context.Background(), wire.Pong, *payload)
		}
		c.writing.unlock()
		c.pourOut()
	}
}

// pings are those that wait for their pong.
type pings struct {
	mu      sync.Mutex // guards waiting and count
	waiting []ping     // oldest first
	count   uint64
	latency atomic.Int64
}

type ping struct {
	number uint64
	sent   time.Time
	pong   chan time.Duration // takes one without blocking
}

func (p *pings) add() (payload []byte, pong chan time.Duration) {
	pong = make(chan time.Duration, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	p.waiting = append(p.waiting, ping{p.count, time.Now(), pong})
	return binary.BigEndian.AppendUint64(nil, p.count), pong
}

// answered takes a pong. One that nobody waits for means nothing (§5.5.3).
func (p *pings) answered(payload []byte) {
	if len(payload) != 8 {
		return
	}
	number := binary.BigEndian.Uint64(payload)
	p.mu.Lock()
	defer p.mu.Unlock()
	i, found := slices.BinarySearchFunc(p.waiting, number, func(w ping, number uint64) int {
		return int(int64(w.number - number))
	})
	if !found {
		return
	}
	// The peer may answer only the last of several pings: this pong is for all before it too.
	for _, w := range p.waiting[:i+1] {
		latency := time.Since(w.sent)
		p.latency.Store(int64(latency))
		w.pong <- latency
	}
	p.waiting = slices.Delete(p.waiting, 0, i+1)
}

// wait waits for the pong of a ping that was sent. When done is closed, the
// connection is over, and why says why.
func (p *pings) wait(ctx context.Context, pong chan time.Duration, done <-chan struct{}, why func() error) (time.Duration, error) {
	defer p.forget(pong) // if it has come, it is already
	select {
	case latency := <-pong:
		return latency, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-done:
		return 0, why()
	}
}

func (p *pings) forget(pong chan time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = slices.DeleteFunc(p.waiting, func(w ping) bool { return w.pong == pong })
}
