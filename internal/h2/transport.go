package h2

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// linger is how long a connection is kept that was ended in order: a client
// that still sends would else lose the last it was sent, to a RST.
const linger = time.Second

// lingerBytes bounds what such a client may send.
const lingerBytes = 128 << 10

// A followed connection has a goroutine that reads, and another while something
// is being sent.
type followed struct {
	conn    *conn
	nc      net.Conn
	soft    *softConn // below TLS, or nil: then sending needs no goroutine but for what is left
	writers sync.WaitGroup
}

// follow serves a connection until it has ended, and its handlers too.
func (c *conn) follow(nc net.Conn) {
	t := &followed{conn: c, nc: nc}
	if secure, ok := nc.(*tls.Conn); ok {
		if t.soft, ok = secure.NetConn().(*softConn); ok {
			t.soft.soften(c.server.options.WriteTimeout, func() {
				c.mu.Lock()
				defer c.unlock()
				c.drained()
			})
		}
	}
	c.out = t
	err := checkTLS(c.tls)
	if err != nil {
		c.m.Fail(err)
	}
	c.start()
	readErr := t.read()
	nc.Close() // an error would be that of earlier writes
	c.end(readErr)
	t.writers.Wait()
	<-c.ended
}

func (t *followed) read() error {
	buf := make([]byte, 4<<10)
	for {
		n, err := t.nc.Read(buf)
		if n > 0 {
			t.conn.receive(buf[:n])
		}
		if err != nil {
			return err
		}
	}
}

func (t *followed) send(out []byte) (blocked bool) {
	if t.soft != nil {
		t.soft.cork()
		_, err := t.nc.Write(out)
		freeOut(out)
		if left := t.soft.uncork(); err == nil {
			return left
		}
		t.abort()
		return true
	}
	t.writers.Go(func() { t.write(out) }) // Ends when all is sent. Joined by follow.
	return true
}

// write sends, and what there is to be sent then.
func (t *followed) write(out []byte) {
	c := t.conn
	var err error
	for left := out; len(left) > 0 && err == nil; {
		_ = t.nc.SetWriteDeadline(time.Now().Add(c.server.options.WriteTimeout)) // fails where Write does
		var n int
		n, err = t.nc.Write(left)
		if left = left[n:]; n > 0 && c.tls == nil && errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil // it moves
		}
	}
	freeOut(out)
	if err != nil {
		t.nc.Close()
		return
	}
	c.mu.Lock()
	defer c.unlock()
	c.drained()
}

// close says that nothing more is sent, and gives the client a moment to see
// it.
func (t *followed) close() {
	t.writers.Go(func() { // Ends at once. Joined by follow.
		if half, ok := t.nc.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // the connection is closed anyway
		}
	})
	time.AfterFunc(linger, t.abort) // harmless if it has ended
}

func (t *followed) abort() {
	go t.nc.Close() // Ends in time: TLS gives its last word five seconds.
}
