// Package client publishes to and reads the topics of a Duplex server, with
// the same verbs on any transport (PROTOCOL.md).
//
//	c, err := client.New("http://127.0.0.1:8080", nil)
//	...
//	id, err := c.Publish(ctx, "orders/eu/42", []byte(`{"total":12}`), &client.PublishOptions{Media: "application/json"})
//	...
//	for event, err := range c.Subscribe(ctx, []string{"orders/**"}, nil) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(event.ID, event.Topic, string(event.Data))
//	}
//
// A subscription is a cursor. It survives every cut of its connection, goes
// on exactly where it stopped, and says so with a $gap if events are gone.
// Whoever keeps the id of the last event that was worked on can go on there
// with another Subscribe, on another transport too.
//
// The package starts no goroutines: everything happens in the caller's.
package client
