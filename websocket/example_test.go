package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/duplexhq/duplex/websocket"
)

// A server that sends every message back.
func ExampleAccept() {
	echo := func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // Accept has answered
		}
		defer c.CloseNow()
		for {
			messageType, message, err := c.Read(context.Background())
			if err != nil {
				return
			}
			if err := c.Write(context.Background(), messageType, message); err != nil {
				return
			}
		}
	}
	server := httptest.NewServer(http.HandlerFunc(echo))
	defer server.Close()

	c, _, err := websocket.Dial(context.Background(), server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	if err := c.Write(context.Background(), websocket.Text, []byte("Hello")); err != nil {
		log.Fatal(err)
	}
	_, message, err := c.Read(context.Background())
	fmt.Printf("%s %v\n", message, err)
	fmt.Println(c.Close(websocket.CloseNormal, "bye"))
	// Output:
	// Hello <nil>
	// <nil>
}

// A client that reads until the server closes.
func ExampleDial() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"countdown"}})
		if err != nil {
			return
		}
		for i := 3; i > 0; i-- {
			c.Write(context.Background(), websocket.Text, fmt.Append(nil, i))
		}
		c.Close(websocket.CloseNormal, "liftoff")
	}))
	defer server.Close()

	c, _, err := websocket.Dial(context.Background(), server.URL, &websocket.DialOptions{
		Subprotocols: []string{"countdown"},
		Header:       http.Header{"Authorization": {"Bearer token"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.CloseNow()
	fmt.Println(c.Subprotocol())
	for {
		_, message, err := c.Read(context.Background())
		if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
			fmt.Println(closed.Code, closed.Reason)
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(message))
	}
	// Output:
	// countdown
	// 3
	// 2
	// 1
	// 1000 liftoff
}

// A message for many is framed once.
func ExamplePrepare() {
	var mu sync.Mutex
	var conns []*websocket.Conn
	joined := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		mu.Lock()
		conns = append(conns, c)
		mu.Unlock()
		joined <- struct{}{}
	}))
	defer server.Close()

	var readers sync.WaitGroup
	for range 3 {
		c, _, err := websocket.Dial(context.Background(), server.URL, nil)
		if err != nil {
			log.Fatal(err)
		}
		<-joined
		readers.Go(func() {
			defer c.CloseNow()
			_, message, _ := c.Read(context.Background())
			fmt.Println(string(message))
		})
	}

	message, err := websocket.Prepare(websocket.Text, []byte("to all of you"))
	if err != nil {
		log.Fatal(err)
	}
	mu.Lock()
	everybody := conns
	mu.Unlock()
	for _, c := range everybody {
		if err := c.WritePrepared(context.Background(), message); err != nil {
			c.CloseNow() // who cannot take it has to come back
		}
	}
	readers.Wait()
	for _, c := range everybody {
		c.CloseNow()
	}
	// Output:
	// to all of you
	// to all of you
	// to all of you
}

// A stream of bytes over a WebSocket.
func ExampleNetConn() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		var stream net.Conn = websocket.NetConn(context.Background(), c, websocket.Binary)
		defer stream.Close()
		io.Copy(stream, io.LimitReader(strings.NewReader(strings.Repeat("tunnel ", 100)), 20))
	}))
	defer server.Close()

	c, _, err := websocket.Dial(context.Background(), server.URL, nil)
	if err != nil {
		log.Fatal(err)
	}
	stream := websocket.NetConn(context.Background(), c, websocket.Binary)
	defer stream.Close()
	all, err := io.ReadAll(stream)
	fmt.Printf("%q %v\n", all, err)
	// Output: "tunnel tunnel tunnel" <nil>
}

// A hub that keeps the bytes of an event once for each form that its subscribers take.
func ExampleConn_FrameForm() {
	event := []byte(strings.Repeat(`{"price":1},`, 100))
	var mu sync.Mutex
	frames := map[websocket.FrameForm][]byte{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Options: websocket.Options{Compression: &websocket.Compression{}},
		})
		if err != nil {
			return
		}
		defer c.CloseNow()
		form := c.FrameForm()
		mu.Lock()
		if frames[form] == nil {
			frames[form] = form.AppendMessage(nil, websocket.Text, event)
		}
		frame := frames[form]
		mu.Unlock()
		c.WriteFrames(context.Background(), frame)
		c.Close(websocket.CloseNormal, "")
	}))
	defer server.Close()

	for _, compression := range []*websocket.Compression{nil, {}} {
		c, response, err := websocket.Dial(context.Background(), server.URL, &websocket.DialOptions{
			Options: websocket.Options{Compression: compression, Observe: func(e websocket.FrameEvent) {
				if e.Opcode == websocket.Text {
					fmt.Println("compressed:", e.Length < 100)
				}
			}},
		})
		if err != nil {
			log.Fatal(err)
		}
		_, message, _ := c.Read(context.Background())
		fmt.Printf("%d bytes %q\n", len(message), response.Header.Get("Sec-WebSocket-Extensions"))
		c.CloseNow()
	}
	// Output:
	// compressed: false
	// 1200 bytes ""
	// compressed: true
	// 1200 bytes "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
}
