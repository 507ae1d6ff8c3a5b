package main

import (
	"compress/flate"
	"net"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

// serveGorilla follows the package's documentation: write buffers from a pool,
// the read buffer of net/http, prepared messages, and the hub of its chat
// example with a goroutine that writes for each connection.
func serveGorilla(listener net.Listener, s settings) error {
	upgrader := websocket.Upgrader{
		WriteBufferPool:   &sync.Pool{},
		EnableCompression: s.deflate,
		CheckOrigin:       func(*http.Request) bool { return true },
	}
	var hub gorillaHub
	accept := func(use func(*websocket.Conn)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			c, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return // Upgrade has answered
			}
			c.SetReadLimit(s.readLimit)
			if err := c.SetCompressionLevel(flate.BestSpeed); err != nil {
				panic(err) // it is a level
			}
			// The handler returns, so that net/http frees what it holds.
			go use(c)
		}
	}
	return serveHTTP(listener, accept(gorillaEcho), accept(hub.join), func(text []byte) {
		if prepared, err := websocket.NewPreparedMessage(websocket.TextMessage, text); err == nil {
			hub.members.send(prepared)
		}
	})
}

func gorillaEcho(c *websocket.Conn) {
	defer c.Close()
	for {
		messageType, message, err := c.ReadMessage()
		if err != nil || c.WriteMessage(messageType, message) != nil {
			return
		}
	}
}

type gorillaHub struct {
	members membership[*websocket.PreparedMessage]
}

func (h *gorillaHub) join(c *websocket.Conn) {
	defer c.Close()
	queue := h.members.join()
	defer h.members.leave(queue)
	go func() { // ends when the connection has left
		defer c.Close()
		for message := range queue {
			if c.WritePreparedMessage(message) != nil {
				return
			}
		}
	}()
	for {
		messageType, message, err := c.ReadMessage()
		if err != nil {
			return
		}
		prepared, err := websocket.NewPreparedMessage(messageType, message)
		if err != nil {
			return
		}
		h.members.send(prepared)
	}
}
