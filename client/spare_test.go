package client

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/topic/memlog"
)

// Who goes on to another topic finds the connection, for 3 s; who closes the
// client, or wants another transport, does not wait for that.
func TestSpareConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := testnet.New(t)
		log := memlog.Open(nil)
		defer log.Close()
		stop := serveLog(t, network, log)
		defer stop(false)
		transport := &http.Transport{DialContext: network.Dial}
		c, err := New("http://duplex.test:80", &Options{HTTP: &http.Client{Transport: transport}, Memory: new(Memory)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		read := func(name string) {
			t.Helper()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for _, err := range c.Subscribe(ctx, []string{name}, &SubscribeOptions{Opened: cancel}) {
				if !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		want := func(state State, dials int) {
			t.Helper()
			synctest.Wait()
			if got := c.Status().State; got != state || network.Dialled() != dials {
				t.Errorf("%s after %d connections, want %s after %d", got, network.Dialled(), state, dials)
			}
		}
		read("a")
		time.Sleep(spareFor - time.Nanosecond)
		read("b")
		time.Sleep(spareFor - time.Nanosecond)
		want(Connected, 1)
		time.Sleep(time.Nanosecond)
		want(Idle, 1)

		read("a")
		network.Cut()
		want(Idle, 2) // and nobody connects again
		time.Sleep(time.Minute)
		want(Idle, 2)

		read("a")
		if err := c.Use(SSE); err != nil {
			t.Fatal(err)
		}
		want(Idle, 3)
		if err := c.Use(WebSocket); err != nil {
			t.Fatal(err)
		}
		read("a")
		began := time.Now()
		c.Close()
		want(Closed, 4)
		if took := time.Since(began); took > 0 {
			t.Errorf("closing took %v", took)
		}
	})
}
