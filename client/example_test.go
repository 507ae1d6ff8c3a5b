package client_test

import (
	"context"
	"fmt"
	"log"

	"github.com/duplexhq/duplex/client"
	"github.com/duplexhq/duplex/server"
)

func Example() {
	ctx := context.Background()
	s, err := server.New(&server.Config{Listen: []string{"127.0.0.1:0"}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown(ctx)
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}

	c, err := client.New("http://"+s.Addrs()[0].String(), nil)
	if err != nil {
		log.Fatal(err)
	}
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

func ExampleClient_PublishAll() {
	ctx := context.Background()
	s, err := server.New(&server.Config{Listen: []string{"127.0.0.1:0"}})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown(ctx)
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	c, err := client.New("http://"+s.Addrs()[0].String(), nil)
	if err != nil {
		log.Fatal(err)
	}

	events := make(chan client.Event, 100)
	go func() {
		defer close(events)
		for i := range 5000 {
			events <- client.Event{Data: fmt.Appendf(nil, "measurement %d", i)}
		}
	}()
	stored := 0
	for _, err := range c.PublishAll(ctx, "sensors/7", events) {
		if err != nil {
			log.Fatal(err)
		}
		stored++
	}
	fmt.Println(stored)
	// Output: 5000
}
