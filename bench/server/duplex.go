package main

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// serveDuplex reads each connection with a goroutine.
func serveDuplex(listener net.Listener, s settings) error {
	options := &websocket.AcceptOptions{Options: websocket.Options{
		Cork:         true, // the reader answers
		ReadLimit:    s.readLimit,
		WriteTimeout: 10 * time.Second, // whoever takes nothing must not hold up the others
	}}
	if s.deflate {
		options.Compression = &websocket.Compression{}
	}
	var hub duplexHub
	hub.wake = make(chan struct{}, 1)
	go hub.send() // ends with the process
	// The handler returns, so that net/http frees what it holds.
	accept := func(use func(*websocket.Conn)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if c, err := websocket.Accept(w, r, options); err == nil {
				go use(c)
			}
		}
	}
	return serveHTTP(listener, accept(duplexEcho), accept(hub.join), nil)
}

func duplexEcho(c *websocket.Conn) {
	defer c.CloseNow()
	var message []byte
	for {
		messageType, m, err := c.ReadAppend(context.Background(), message[:0])
		if err != nil || c.Write(context.Background(), messageType, m) != nil {
			return
		}
		message = m
	}
}

// duplexHub sends whatever came while it was sending in one write to each
// connection.
type duplexHub struct {
	wake chan struct{} // holds one token while frames are waiting

	mu      sync.Mutex // guards what follows
	members []*websocket.Conn
	frames  []byte // that wait
}

func (h *duplexHub) join(c *websocket.Conn) {
	defer c.CloseNow()
	h.mu.Lock()
	h.members = append(h.members, c)
	h.mu.Unlock()
	defer h.leave(c)
	var message []byte
	for {
		messageType, m, err := c.ReadAppend(context.Background(), message[:0])
		if err != nil {
			return
		}
		message = m
		h.mu.Lock()
		h.frames = websocket.AppendMessage(h.frames, messageType, m)
		h.mu.Unlock()
		select {
		case h.wake <- struct{}{}:
		default:
		}
	}
}

func (h *duplexHub) leave(c *websocket.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members = slices.DeleteFunc(h.members, func(m *websocket.Conn) bool { return m == c })
}

func (h *duplexHub) send() {
	var frames []byte
	var members []*websocket.Conn
	for range h.wake {
		h.mu.Lock()
		frames, h.frames = h.frames, frames[:0]
		members = append(members[:0], h.members...)
		h.mu.Unlock()
		for _, c := range members {
			_ = c.WriteFrames(context.Background(), frames) // whoever is gone leaves by itself
		}
	}
}
