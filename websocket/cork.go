package websocket

import (
	"context"
	"sync/atomic"
)

// cork keeps what is written while the reader has more to give before it waits
// for the network: see [Options].Cork.
type cork struct {
	ahead atomic.Bool // the reader has more to give
	kept  atomic.Bool // there is something in buf
	buf   *buffer     // borrowed while there is; guarded by writing, as n
	n     int
}

// keep takes a frame if it finds room, and if the cork is in or others were kept before it. It is
// for who is inside writing.
func (k *cork) keep(first, rest []byte) bool {
	if !k.ahead.Load() && k.n == 0 || k.n+len(first)+len(rest) > bufferBytes {
		return false
	}
	if k.buf == nil {
		k.buf = buffers.Get().(*buffer)
	}
	k.n += copy(k.buf[k.n:], first)
	k.n += copy(k.buf[k.n:], rest)
	k.kept.Store(true)
	return true
}

// sendKept writes what was kept. It is for who is inside writing.
func (c *Conn) sendKept(ctx context.Context) error {
	k := &c.cork
	if k.n == 0 {
		return nil
	}
	kept := k.buf[:k.n]
	err := c.transmit(ctx, kept)
	buffers.Put(k.buf)
	k.buf, k.n = nil, 0
	k.kept.Store(false)
	return err
}

// uncork is called by the reader before it waits.
func (c *Conn) uncork() {
	c.cork.ahead.Store(false)
	c.pourOut()
}

// pourOut writes what was kept if the cork is out. Who finds somebody inside writing leaves it to
// him: he comes here, too, when he has left.
func (c *Conn) pourOut() {
	k := &c.cork
	for k.kept.Load() && !k.ahead.Load() && c.writing.tryLock() {
		c.out.bound(c.writeTimeout)
		c.out.aside = true
		// An error has ended the connection; whoever reads or writes will be told.
		c.sendKept(context.Background())
		c.writing.unlock()
	}
}
