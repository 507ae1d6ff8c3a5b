package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/server"
)

// startServer runs a server for an example.
func startServer() (url string, stop func()) {
	s, err := server.New(context.Background(), &server.Config{Listen: []string{"127.0.0.1:0"}})
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	return "http://" + s.Addrs()[0].String(), func() { s.Shutdown(context.Background()) }
}

func Example() {
	url, stop := startServer()
	defer stop()
	ctx := context.Background()

	c, err := client.New(url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	opts := &client.PublishOptions{Type: "paid", Media: "application/json"}
	if _, err := c.Publish(ctx, "orders/eu/42", []byte(`{"total":12}`), opts); err != nil {
		log.Fatal(err)
	}
	for event, err := range c.Subscribe(ctx, []string{"orders/**"}, &client.SubscribeOptions{After: client.Earliest}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Topic, event.Type, string(event.Data))
		break
	}
	// Output: orders/eu/42 paid {"total":12}
}

// Who keeps the id of the last event that was worked on goes on after it, also
// in another process.
func ExampleClient_Subscribe() {
	url, stop := startServer()
	defer stop()
	ctx := context.Background()
	c, err := client.New(url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for _, data := range []string{"one", "two", "three"} {
		if _, err := c.Publish(ctx, "jobs", []byte(data), nil); err != nil {
			log.Fatal(err)
		}
	}
	if err := c.End(ctx, "jobs"); err != nil {
		log.Fatal(err)
	}

	last := client.Earliest
	for event := range c.Subscribe(ctx, []string{"jobs"}, &client.SubscribeOptions{After: last}) {
		fmt.Println("first:", string(event.Data))
		last = event.ID
		break
	}
	// The loop ends with the topic.
	for event, err := range c.Subscribe(ctx, []string{"jobs"}, &client.SubscribeOptions{After: last}) {
		if err != nil {
			log.Fatal(err)
		}
		if event.Type == "$end" {
			continue
		}
		fmt.Println("then:", string(event.Data))
	}
	// Output:
	// first: one
	// then: two
	// then: three
}

// A token is asked for before each connection, so it may change. Transports can
// be limited, and changed without losing an event.
func ExampleClient_Use() {
	url, stop := startServer()
	defer stop()
	ctx := context.Background()
	c, err := client.New(url, &client.Options{
		Token:      func(context.Context) (string, error) { return "a fresh one", nil },
		Transports: []client.Transport{client.SSE, client.Longpoll},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Publish(ctx, "room", []byte("hello"), nil); err != nil {
		log.Fatal(err)
	}
	for event, err := range c.Subscribe(ctx, []string{"room"}, &client.SubscribeOptions{After: client.Earliest}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(event.Data), "by", c.Status().Transport)
		if string(event.Data) == "bye" {
			break
		}
		if err := c.Use(client.WebSocket); err != nil {
			log.Fatal(err)
		}
		for status := range c.Changes(ctx) {
			if status.Transport == client.WebSocket {
				break
			}
		}
		if _, err := c.Publish(ctx, "room", []byte("bye"), nil); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// hello by sse
	// bye by websocket
}

func ExampleClient_History() {
	url, stop := startServer()
	defer stop()
	ctx := context.Background()
	c, err := client.New(url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for i := range 5 {
		if _, err := c.Publish(ctx, "log", fmt.Append(nil, "line ", i), nil); err != nil {
			log.Fatal(err)
		}
	}
	page, err := c.History(ctx, []string{"log"}, &client.HistoryOptions{Limit: 2})
	if err != nil {
		log.Fatal(err)
	}
	for _, event := range page.Events {
		fmt.Println(string(event.Data))
	}
	// Output:
	// line 3
	// line 4
}

// A refusal says which it is.
func ExampleProblemError() {
	url, stop := startServer()
	defer stop()
	c, err := client.New(url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	_, err = c.Publish(context.Background(), "$system", nil, nil)
	if problem, ok := errors.AsType[*client.ProblemError](err); ok {
		fmt.Println(problem.Status, problem.Name)
	}
	// Output: 403 system-topic
}

func ExampleClient_PublishAll() {
	url, stop := startServer()
	defer stop()
	c, err := client.New(url, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	events := make(chan client.Event, 100)
	go func() {
		defer close(events)
		for i := range 5000 {
			events <- client.Event{Data: fmt.Appendf(nil, "measurement %d", i)}
		}
	}()
	stored := 0
	for _, err := range c.PublishAll(context.Background(), "sensors/7", events) {
		if err != nil {
			log.Fatal(err)
		}
		stored++
	}
	fmt.Println(stored)
	// Output: 5000
}
