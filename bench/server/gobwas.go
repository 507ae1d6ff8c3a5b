package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/gobwas/ws"
)

// serveGobwas uses the low-level road that the package's documentation shows:
// upgrade without net/http, a small buffered reader, and buffers that are used
// again. It echoes frame by frame: a fragment is answered with a fragment.
func serveGobwas(listener net.Listener, s settings) error {
	var hub gobwasHub
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			var path string
			upgrader := ws.Upgrader{OnRequest: func(uri []byte) error {
				path = string(uri)
				if path != "/echo" && path != "/fanout" {
					return ws.RejectConnectionError(ws.RejectionStatus(404))
				}
				return nil
			}}
			if _, err := upgrader.Upgrade(conn); err != nil {
				return
			}
			c := &gobwasConn{conn: conn, r: bufio.NewReaderSize(conn, 4096), limit: s.readLimit}
			if path == "/fanout" {
				hub.join(c)
				return
			}
			c.read(func(frame []byte) bool { return c.write(frame) == nil })
		}()
	}
}

type gobwasConn struct {
	conn  net.Conn
	r     *bufio.Reader
	limit int64
	frame bytes.Buffer

	writing sync.Mutex
}

func (c *gobwasConn) write(frame []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.conn.Write(frame)
	return err
}

var errGobwasFrame = errors.New("frame is too long or not masked")

// read gives use each frame, as a server sends it, until it reports false.
func (c *gobwasConn) read(use func(frame []byte) bool) {
	for {
		header, err := ws.ReadHeader(c.r)
		if err == nil && (header.Length > c.limit || !header.Masked) {
			err = errGobwasFrame
		}
		if err != nil {
			return
		}
		received := header
		header.Masked = false
		if received.OpCode == ws.OpPing {
			header.OpCode = ws.OpPong
		}
		c.frame.Reset()
		if ws.WriteHeader(&c.frame, header) != nil {
			return
		}
		start := c.frame.Len()
		c.frame.Grow(int(header.Length))
		frame := c.frame.AvailableBuffer()[:header.Length]
		if _, err := io.ReadFull(c.r, frame); err != nil {
			return
		}
		ws.Cipher(frame, received.Mask, 0)
		c.frame.Write(frame)
		whole := c.frame.Bytes()[:start+len(frame)]
		switch received.OpCode {
		case ws.OpPong:
		case ws.OpPing, ws.OpClose:
			if c.write(whole) != nil || received.OpCode == ws.OpClose {
				return
			}
		default:
			if !use(whole) {
				return
			}
		}
	}
}

type gobwasHub struct {
	mu      sync.RWMutex // guards members
	members []*gobwasConn
}

func (h *gobwasHub) join(c *gobwasConn) {
	h.mu.Lock()
	h.members = append(h.members, c)
	h.mu.Unlock()
	c.read(func(frame []byte) bool {
		h.mu.RLock()
		defer h.mu.RUnlock()
		for _, member := range h.members {
			_ = member.write(frame) // whoever is gone leaves by itself
		}
		return true
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members = slices.DeleteFunc(h.members, func(m *gobwasConn) bool { return m == c })
}
