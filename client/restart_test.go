package client

import (
	"context"
	"math"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
	"github.com/duplexhq/duplex/view/viewtest"
)

// A server of 2,000 clients stops, and is back 5 s later: they do not come back
// all at once, and all are back in time.
func TestRestart(t *testing.T) {
	const clients = restarted
	for name, test := range map[string]struct {
		orderly bool
		peak    float64       // connects in a second that are to be expected, of each client that was cut
		back    time.Duration // after the server is
	}{
		"killed":  {false, 0.69, 13 * time.Second},
		"drained": {true, 0.5, 13 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := testnet.New(t)
				var mu sync.Mutex
				var dialled []time.Time
				network.Route = func(int) testnet.Path { return nil }
				dial := func(ctx context.Context, kind, address string) (net.Conn, error) {
					mu.Lock()
					dialled = append(dialled, time.Now())
					mu.Unlock()
					return network.Dial(ctx, kind, address)
				}
				log := memlog.Open(nil)
				defer log.Close()
				stop := serveLog(t, network, log)

				var placed, running sync.WaitGroup
				var last time.Time // guarded by mu
				all := make([]*Client, clients)
				for i := range all {
					c, err := New("http://duplex.test:80", &Options{
						HTTP: &http.Client{Transport: &http.Transport{DialContext: dial}}, Memory: new(Memory),
					})
					if err != nil {
						t.Fatal(err)
					}
					all[i] = c
					placed.Add(1)
					first := true
					running.Go(func() {
						for range c.Subscribe(t.Context(), []string{"a"}, &SubscribeOptions{Opened: func() {
							if first {
								placed.Done()
								first = false
								return
							}
							mu.Lock()
							last = time.Now()
							mu.Unlock()
							placed.Done()
						}}) {
						}
					})
				}
				placed.Wait()

				mu.Lock()
				dialled = nil
				mu.Unlock()
				placed.Add(clients)
				stop(test.orderly)
				time.Sleep(5 * time.Second)
				began := time.Now()
				stop = serveLog(t, network, log)
				placed.Wait()

				mu.Lock()
				peak, took := peakOf(dialled), last.Sub(began)
				tries := len(dialled)
				mu.Unlock()
				t.Logf("%d connects, at most %d in a second; all back after %v", tries, peak, took)
				expected := test.peak * clients
				if most := expected + 5*math.Sqrt(expected); float64(peak) > most {
					t.Errorf("%d connects in a second, want at most %.0f", peak, most)
				}
				if took > test.back {
					t.Errorf("the last one was back after %v, want %v", took, test.back)
				}
				for _, c := range all {
					go c.Close()
				}
				running.Wait()
				synctest.Wait()
				stop(false)
			})
		})
	}
}

// peakOf is how many of the times, which are in order, lie within a second.
func peakOf(times []time.Time) (peak int) {
	first := 0
	for i, at := range times {
		for at.Sub(times[first]) >= time.Second {
			first++
		}
		peak = max(peak, i-first+1)
	}
	return peak
}

// serveLog runs a server on the log, until stop.
func serveLog(t *testing.T, network *testnet.Network, log topic.Log) (stop func(orderly bool)) {
	listener, err := network.Listen("tcp", "duplex.test:80")
	if err != nil {
		t.Fatal(err)
	}
	server := viewtest.New(t, log, nil)
	server.Serve(listener)
	return func(orderly bool) {
		if !orderly {
			network.Cut()
			server.Close()
		} else if err := server.Drain(); err != nil {
			t.Error(err)
		}
	}
}
