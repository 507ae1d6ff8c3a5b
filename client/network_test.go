package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/websocket"
)

// bubble runs f with a client of a server inside a synctest bubble.
func bubble(t *testing.T, handler http.HandlerFunc, f func(t *testing.T, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := testnet.New(t)
		listener, err := network.Listen("tcp", "duplex.test:80")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: handler}
		go server.Serve(listener)
		transport := &http.Transport{DialContext: network.Dial}
		var c *Client
		t.Cleanup(func() {
			c.Close()
			transport.CloseIdleConnections()
			synctest.Wait()
			if open := network.Open(); open != 0 {
				t.Errorf("the client has left %d connections open", open)
			}
			server.Close()
		})
		c, err = New("http://duplex.test/base", &Options{
			HTTP:   &http.Client{Transport: transport},
			Memory: new(Memory),
			Header: http.Header{"X-Test": {"yes"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		f(t, c)
	})
}

// refuse answers with a problem.
func refuse(w http.ResponseWriter, status int, name string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"urn:duplex:problem:%s","title":"The title","status":%d,"detail":"the detail"}`, name, status)
}

// A script says what each connection of a subscription brings: lines of JSON,
// as the protocol writes events and signals. When they are through, the
// connection is cut. The last one is held open instead.
type script struct {
	t           *testing.T
	transport   Transport
	connections [][]string
	asked       []string // ?after= of each request
}

func (s *script) serve(w http.ResponseWriter, r *http.Request) {
	n := len(s.asked)
	s.asked = append(s.asked, r.URL.Query().Get("after"))
	if r.Header.Get("X-Test") != "yes" {
		s.t.Error("a request without the client's header")
	}
	last := n >= len(s.connections)-1
	if n >= len(s.connections) {
		s.t.Errorf("connection %d after the last one, after %q", n, s.asked[n])
		return
	}
	send(s.t, s.transport, w, r, s.connections[n], last)
}

// send answers with the lines in the form of the transport.
func send(t *testing.T, transport Transport, w http.ResponseWriter, r *http.Request, lines []string, hold bool) {
	switch transport {
	case WebSocket:
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"duplex.v1"}})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		for _, line := range lines {
			if err := conn.Write(r.Context(), websocket.Text, []byte(line)); err != nil {
				return // the client has what it wanted
			}
		}
		if hold {
			_, _, _ = conn.Read(context.Background()) // until the client leaves
		}
		return
	case SSE:
		if r.Header.Get("Accept") != "text/event-stream" || r.URL.Query().Get("envelope") != "1" {
			t.Errorf("not a request for an event stream with envelopes: %v %v", r.URL, r.Header)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, line := range lines {
			fmt.Fprintf(w, "data: %s\n\n", line)
		}
		_, _ = io.WriteString(w, "data: cut off") // HTML §9.2.6: without a blank line it does not count
	case Stream:
		if r.Header.Get("Accept") != "application/x-ndjson" {
			t.Errorf("not a request for a stream: %v", r.Header)
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		for _, line := range lines {
			_, _ = io.WriteString(w, line+"\n")
		}
		_, _ = io.WriteString(w, `{"id":"cut`) // PROTOCOL.md §5.10: "does not count"
	case Longpoll, Poll:
		t.Fatal("pages have their own tests")
	}
	_ = http.NewResponseController(w).Flush()
	if hold {
		<-r.Context().Done()
		return
	}
	panic(http.ErrAbortHandler) // cuts the connection
}

// text is what a test compares an event by.
func text(e topic.Envelope) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", e.ID, e.Type, e.Data))
}

// collectBy is collect by one transport.
func collectBy(t *testing.T, c *Client, transport Transport, topics []string, n int) ([]string, error) {
	t.Helper()
	use(t, c, transport)
	return collect(t.Context(), c, topics, nil, n)
}
