package main

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/lxzan/gws"
)

// serveGws follows the package's documentation: its own server in place of
// net/http, and its broadcaster, which frames and compresses once.
func serveGws(listener net.Listener, s settings) error {
	option := &gws.ServerOption{
		ReadMaxPayloadSize: int(s.readLimit),
		PermessageDeflate:  gws.PermessageDeflate{Enabled: s.deflate}, // level 1 by default
		Logger:             gwsLog{},
	}
	echo := gws.NewUpgrader(&gwsEcho{}, option)
	hub := &gwsHub{}
	fanout := gws.NewUpgrader(hub, option)
	server := gws.NewServer(&gws.BuiltinEventHandler{}, option)
	server.OnRequest = func(conn net.Conn, r *bufio.Reader, request *http.Request) {
		upgrader := echo
		if request.URL.Path == "/fanout" {
			upgrader = fanout
		}
		if request.Method == http.MethodPost {
			hub.posts(conn, r, request)
			return
		}
		if socket, err := upgrader.UpgradeFromConn(conn, r, request); err == nil {
			socket.ReadLoop()
		}
	}
	server.OnError = func(conn net.Conn, err error) {
		if conn != nil {
			conn.Close()
		}
		if !errors.Is(err, io.EOF) {
			slog.Debug("connection", "error", err)
		}
	}
	return server.RunListener(listener)
}

// gwsLog says nothing: connections that end are no news.
type gwsLog struct{}

func (gwsLog) Error(...any) {}

type gwsEcho struct{ gws.BuiltinEventHandler }

func (*gwsEcho) OnPing(socket *gws.Conn, payload []byte) { _ = socket.WritePong(payload) }

func (*gwsEcho) OnMessage(socket *gws.Conn, message *gws.Message) {
	defer message.Close()
	_ = socket.WriteMessage(message.Opcode, message.Bytes()) // errors are handled inside, its documentation says
}

type gwsHub struct {
	gws.BuiltinEventHandler
	mu      sync.RWMutex // guards members
	members []*gws.Conn
}

func (h *gwsHub) OnOpen(socket *gws.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members = append(h.members, socket)
}

func (h *gwsHub) OnClose(socket *gws.Conn, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.members = slices.DeleteFunc(h.members, func(m *gws.Conn) bool { return m == socket })
}

func (*gwsHub) OnPing(socket *gws.Conn, payload []byte) { _ = socket.WritePong(payload) }

func (h *gwsHub) OnMessage(_ *gws.Conn, message *gws.Message) {
	defer message.Close()
	h.send(message.Opcode, message.Bytes())
}

// posts publishes what is posted on a connection.
func (h *gwsHub) posts(conn net.Conn, r *bufio.Reader, request *http.Request) {
	defer conn.Close()
	for {
		text, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		h.send(gws.OpcodeText, text)
		if _, err := io.WriteString(conn, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
		if request, err = http.ReadRequest(r); err != nil {
			return
		}
	}
}

func (h *gwsHub) send(opcode gws.Opcode, text []byte) {
	broadcaster := gws.NewBroadcaster(opcode, text)
	defer broadcaster.Close()
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, member := range h.members {
		_ = broadcaster.Broadcast(member) // as above
	}
}
