package sse_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"time"

	"github.com/duplexhq/duplex/sse"
)

// A handler counts to three, from where the client left off.
func countToThree(w http.ResponseWriter, r *http.Request) {
	next, _ := strconv.Atoi(sse.LastEventID(r))
	next++
	if next > 3 {
		w.WriteHeader(http.StatusNoContent) // tells an EventSource to stop
		return
	}
	stream, err := sse.NewWriter(w, r, nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for ; next <= 3; next++ {
		event := &sse.Event{ID: strconv.Itoa(next), Type: "count", Data: strconv.AppendInt(nil, int64(next), 10)}
		if err := stream.Send(event); err != nil {
			return // the client is gone
		}
	}
}

func ExampleNewWriter() {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/count", nil)
	r.Header.Set("Last-Event-ID", "2")
	countToThree(w, r)
	fmt.Println(w.Header().Get("Content-Type"))
	fmt.Print(w.Body)
	// Output:
	// text/event-stream
	// event: count
	// id: 3
	// data: 3
}

// A handler sends the time whenever it changes, and a comment while it does
// not, so that nothing on the way takes the stream for dead.
func ExampleWriter_Comment() {
	updates := make(chan string)
	http.HandleFunc("GET /dates", func(w http.ResponseWriter, r *http.Request) {
		stream, err := sse.NewWriter(w, r, nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		heartbeat := time.NewTicker(15 * time.Second)
		defer heartbeat.Stop()
		for err == nil {
			select {
			case date := <-updates:
				err = stream.Send(&sse.Event{Data: []byte(date)})
			case <-heartbeat.C:
				err = stream.Comment("")
			case <-r.Context().Done():
				return
			}
		}
	})
}

func ExampleEvents() {
	server := httptest.NewServer(http.HandlerFunc(countToThree))
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	options := &sse.ClientOptions{
		LastEventID: "1",
		Retry:       10 * time.Millisecond,
		IdleLimit:   30 * time.Second, // twice the server's heartbeat
	}
	for event, err := range sse.Events(ctx, server.URL, options) {
		if err != nil {
			fmt.Println("over:", err)
			return
		}
		fmt.Printf("%s %s: %s\n", event.Type, event.ID, event.Data)
	}
	// Output:
	// count 2: 2
	// count 3: 3
}

// A parser takes bytes as they come and needs no connection.
func ExampleParser() {
	parser := &sse.Parser{MaxEventBytes: 8 << 20}
	for _, chunk := range []string{"data: first\ndata: sec", "ond\r", "\n\r\nevent: bye\ndata\n\n"} {
		for event, err := range parser.Feed([]byte(chunk)) {
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Printf("%s %q\n", event.Type, event.Data)
		}
	}
	// Output:
	// message "first\nsecond"
	// bye ""
}

// One block, made once, can be written to many streams.
func ExampleAppend() {
	block, err := sse.Append(nil, "7-42", "order", []byte("{\n  \"paid\": true\n}"))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = os.Stdout.Write(block)

	_, err = sse.Append(nil, "7-43\ndata: forged", "order", "x")
	fmt.Println(err)
	// Output:
	// event: order
	// id: 7-42
	// data: {
	// data:   "paid": true
	// data: }
	//
	// sse: id "7-43\ndata: forged" holds CR, LF or NUL
}

// Events of a response, such as a model's answer to a POST, need no
// reconnection.
func ExampleRead() {
	server := httptest.NewServer(http.HandlerFunc(countToThree))
	defer server.Close()
	resp, err := http.Post(server.URL, "text/plain", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	for event, err := range sse.Read(resp.Body, nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\n", event.Data)
	}
	// Output:
	// 1
	// 2
	// 3
}
