package main

import (
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/duplexhq/duplex/websocket"
)

// serveDuplexEvent leaves connections to the loops that all servers of a
// process share.
func serveDuplexEvent(listener net.Listener, s settings) error {
	options := &websocket.ServerOptions{
		AcceptOptions: websocket.AcceptOptions{Options: websocket.Options{
			ReadLimit:    s.readLimit,
			WriteTimeout: 10 * time.Second,
		}},
		Inline: true, // neither handler blocks
	}
	if s.deflate {
		options.Compression = &websocket.Compression{}
	}
	echo := websocket.NewServer(eventEcho{}, options)
	fanout := websocket.NewServer(&eventHub{}, options)
	return serveHTTP(listener, echo.ServeHTTP, fanout.ServeHTTP, nil)
}

type eventEcho struct{}

func (eventEcho) Open(*websocket.EventConn, *http.Request) {}
func (eventEcho) Close(*websocket.EventConn, error)        {}

func (eventEcho) Message(c *websocket.EventConn, messageType websocket.MessageType, message []byte) {
	if c.Write(messageType, message) != nil {
		c.CloseNow()
	}
}

// eventHub sends what has come together in one write to each connection.
type eventHub struct {
	mu      sync.Mutex // guards what follows
	members []*websocket.EventConn
	frames  []byte // that wait
}

func (h *eventHub) Open(c *websocket.EventConn, _ *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members = append(h.members, c)
}

func (h *eventHub) Close(c *websocket.EventConn, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members = slices.DeleteFunc(h.members, func(m *websocket.EventConn) bool { return m == c })
}

func (h *eventHub) Message(c *websocket.EventConn, messageType websocket.MessageType, message []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.frames) == 0 {
		c.Later(h.send)
	}
	h.frames = websocket.AppendMessage(h.frames, messageType, message)
}

func (h *eventHub) send() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.members {
		if c.WriteFrames(h.frames) == websocket.ErrFull {
			c.CloseNow() // whoever lags so far has to come back
		}
	}
	h.frames = nil // slow members may still refer to them
}
