package main

import (
	"context"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// serveCoder follows the package's documentation and its chat example: a
// goroutine that writes for each connection of the hub.
func serveCoder(listener net.Listener, s settings) error {
	options := &websocket.AcceptOptions{}
	if s.deflate {
		options.CompressionMode = websocket.CompressionNoContextTakeover // always at level 1
	}
	var hub coderHub
	accept := func(use func(*websocket.Conn)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, options)
			if err != nil {
				return // Accept has answered
			}
			c.SetReadLimit(s.readLimit)
			// The handler returns, so that net/http frees what it holds.
			go use(c)
		}
	}
	return serveHTTP(listener, accept(coderEcho), accept(hub.join), func(text []byte) {
		hub.members.send(coderMessage{websocket.MessageText, text})
	})
}

func coderEcho(c *websocket.Conn) {
	defer c.CloseNow()
	for {
		messageType, message, err := c.Read(context.Background())
		if err != nil || c.Write(context.Background(), messageType, message) != nil {
			return
		}
	}
}

type coderMessage struct {
	messageType websocket.MessageType
	payload     []byte
}

type coderHub struct {
	members membership[coderMessage]
}

func (h *coderHub) join(c *websocket.Conn) {
	defer c.CloseNow()
	queue := h.members.join()
	defer h.members.leave(queue)
	go func() { // ends when the connection has left
		defer c.CloseNow()
		for m := range queue {
			if c.Write(context.Background(), m.messageType, m.payload) != nil {
				return
			}
		}
	}()
	for {
		messageType, payload, err := c.Read(context.Background())
		if err != nil {
			return
		}
		h.members.send(coderMessage{messageType, payload})
	}
}
