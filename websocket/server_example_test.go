package websocket_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"

	"github.com/duplexhq/duplex/websocket"
)

// room is a chat: what one says, all hear.
type room struct {
	mu      sync.Mutex // guards members
	members map[*websocket.EventConn]struct{}
}

func (r *room) Open(c *websocket.EventConn, request *http.Request) {
	c.SetValue(request.URL.Query().Get("name"))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members[c] = struct{}{}
}

func (r *room) Message(c *websocket.EventConn, messageType websocket.MessageType, message []byte) {
	said, err := websocket.Prepare(messageType, fmt.Appendf(nil, "%s: %s", c.Value(), message))
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for member := range r.members {
		if member.WritePrepared(said) == websocket.ErrFull {
			member.CloseNow() // who lags so far behind has to come back
		}
	}
}

func (r *room) Close(c *websocket.EventConn, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.members, c)
}

// A chat room without a goroutine for each member.
func ExampleServer() {
	var group websocket.Group
	chat := websocket.NewServer(&room{members: make(map[*websocket.EventConn]struct{})}, &websocket.ServerOptions{
		AcceptOptions: websocket.AcceptOptions{Group: &group},
		Inline:        true, // no method of room blocks
	})
	server := httptest.NewServer(chat)
	defer server.Close()

	c, _, err := websocket.Dial(context.Background(), server.URL+"?name=ann", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(context.Background(), websocket.Text, []byte("hello")); err != nil {
		log.Fatal(err)
	}
	_, message, err := c.Read(context.Background())
	fmt.Printf("%s %v\n", message, err)

	var client sync.WaitGroup
	client.Go(func() {
		_, _, err := c.Read(context.Background())
		fmt.Println(err)
	})
	fmt.Println(group.Shutdown(context.Background()))
	client.Wait()
	// Unordered output:
	// ann: hello <nil>
	// <nil>
	// websocket: closed by peer (1001)
}
