// Package client publishes to and reads the topics of a Duplex server, by
// whatever transport works between here and there (PROTOCOL.md §15).
//
//	c, err := client.New("http://127.0.0.1:8080", nil)
//	...
//	defer c.Close()
//	id, err := c.Publish(ctx, "orders/eu/42", []byte(`{"total":12}`), &client.PublishOptions{Media: "application/json"})
//	...
//	for event, err := range c.Subscribe(ctx, []string{"orders/**"}, nil) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(event.ID, event.Topic, string(event.Data))
//	}
//
// A subscription is a cursor. It survives every cut of its connection and every
// change of transport, goes on exactly where it stopped, and says so with a $gap
// if events are gone. Whoever keeps the id of the last event that was worked on
// can go on there with another Subscribe, in another process too.
//
// How it is made:
//
//   - choice.go decides which transport is tried when, and which is taken; it
//     is a value that is told the time.
//   - keeper.go keeps a link: it waits, checks, probes and takes over, by choices
//     that attempt.go runs. One goroutine while there are subscriptions.
//   - link.go is a transport that works: a session that subscriptions share
//     (session.go), or a reading for each (reading.go, and a file for each
//     transport).
//   - subscription.go is the cursor, and the queue between a link and the loop.
//   - outbox.go publishes, in order.
//
// Goroutines run only while there are subscriptions or publishes, and are
// joined by Close.
package client
