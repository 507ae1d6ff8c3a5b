//go:build linux

package load_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/load"
	"github.com/duplexhq/duplex/websocket"
)

// longest is more than a run of some messages takes on the slowest machine.
const longest = 5 * time.Minute

// briefly are options of a run that is there to be counted, not timed.
func briefly(address string) load.Options {
	return load.Options{
		Address:  address,
		PID:      os.Getpid(),
		Loops:    2,
		Settle:   20 * time.Millisecond,
		Warmup:   20 * time.Millisecond,
		Duration: longest,
		Messages: 100,

		DrainTimeout: longest,
	}
}

// held are options of a run in which nothing is counted.
func held(address string) load.Options {
	options := briefly(address)
	options.Duration = 20 * time.Millisecond
	return options
}

// serve serves WebSockets, each of them by f, which ends when the run has
// closed it.
func serve(t *testing.T, f func(*websocket.Conn)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		f(c)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func echoing(c *websocket.Conn) {
	for {
		messageType, message, err := c.Read(context.Background())
		if err != nil || c.Write(context.Background(), messageType, message) != nil {
			return
		}
	}
}

// faultless fails if anything of a run is missing.
func faultless(t *testing.T, r *load.Report, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if faults := r.Faults(); faults != "" {
		t.Error(faults)
	}
	if r.Messages == 0 || r.Latency.Count() != r.Messages {
		t.Errorf("%d messages, %d latencies", r.Messages, r.Latency.Count())
	}
	if r.Server.CPU <= 0 || r.Server.RSSBefore <= 0 || r.Server.RSSConnected <= 0 || r.Server.RSSAfter <= 0 {
		t.Errorf("nothing was seen of the server: %+v", r.Server)
	}
	if r.BytesIn == 0 || r.Reads == 0 || r.Elapsed <= 0 || r.Elapsed >= longest || r.Messages < 100 {
		t.Errorf("%d bytes in %d reads in %v", r.BytesIn, r.Reads, r.Elapsed)
	}
}

// untilSeen repeats a run with more messages until it has something: a busy machine
// may give all time to one side at first.
func untilSeen(t *testing.T, options *load.Options, run func() (*load.Report, error), has func(*load.Report) bool) *load.Report {
	t.Helper()
	for {
		r, err := run()
		faultless(t, r, err)
		if has(r) {
			return r
		}
		if options.Messages *= 4; options.Messages > 1<<20 {
			t.Fatalf("in %d messages: %d published, %d answered, %d answers, %d complete", r.Messages, r.Published, r.Answers, r.Answered.Count(), r.Complete.Count())
		}
	}
}

func TestEcho(t *testing.T) {
	address := serve(t, echoing)
	for _, test := range []struct {
		name    string
		options load.EchoOptions
	}{
		{"one", load.EchoOptions{Connections: 1, Bytes: load.MinBytes}},
		{"window", load.EchoOptions{Connections: 10, Bytes: 126, Window: 16, Text: true}},
		{"long", load.EchoOptions{Connections: 3, Bytes: 70_000, Window: 2}},
		{"rate", load.EchoOptions{Connections: 5, Bytes: 32, Rate: 2000}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.options.Options = briefly(address)
			r, err := load.Echo(t.Context(), test.options)
			faultless(t, r, err)
			if r.Connections != test.options.Connections {
				t.Errorf("%d connections", r.Connections)
			}
		})
	}
}

// hub sends what it is given to all its members.
type hub struct {
	mu      sync.Mutex // guards members
	members []*websocket.Conn
}

func (h *hub) join(c *websocket.Conn) {
	h.mu.Lock()
	h.members = append(h.members, c)
	h.mu.Unlock()
	for {
		messageType, message, err := c.Read(context.Background())
		if err != nil {
			return
		}
		h.mu.Lock()
		for _, member := range h.members {
			_ = member.Write(context.Background(), messageType, message) // whoever is gone is missed by the counting
		}
		h.mu.Unlock()
	}
}

func TestBroadcast(t *testing.T) {
	for _, test := range []struct {
		name    string
		options load.BroadcastOptions
	}{
		{"one at a time", load.BroadcastOptions{Connections: 10, Bytes: 128}},
		{"window", load.BroadcastOptions{Connections: 10, Publishers: 3, Bytes: 128, Window: 8}},
		{"rate", load.BroadcastOptions{Connections: 10, Publishers: 2, Bytes: 128, Rate: 500}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var h hub
			test.options.Options = briefly(serve(t, h.join))
			untilSeen(t, &test.options.Options, func() (*load.Report, error) {
				return load.Broadcast(t.Context(), test.options)
			}, func(r *load.Report) bool { return r.Published > 0 && r.Complete.Count() > 0 })
		})
	}
}

func TestIdle(t *testing.T) {
	echoed := make(chan int, 100)
	address := serve(t, func(c *websocket.Conn) {
		n := 0
		defer func() { echoed <- n }()
		for {
			messageType, message, err := c.Read(context.Background())
			if err != nil || c.Write(context.Background(), messageType, message) != nil {
				return
			}
			n++
		}
	})
	for _, bytes := range []int{0, 1024} {
		r, err := load.Idle(t.Context(), load.IdleOptions{Options: held(address), Connections: 40, TouchBytes: bytes})
		if err != nil || r.Faults() != "" {
			t.Fatalf("%q, %v", r.Faults(), err)
		}
		for range 40 {
			if n, want := <-echoed, min(bytes, 1); n != want {
				t.Fatalf("%d messages on a connection, want %d", n, want)
			}
		}
	}
}

// records gives f the messages of 32 bytes that come over plain TCP, and what
// f returns is sent.
func records(t *testing.T, f func(count int, message []byte) []byte) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				message := make([]byte, 32)
				for count := 0; ; count++ {
					if _, err := io.ReadFull(c, message); err != nil {
						return
					}
					if _, err := c.Write(f(count, message)); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
	return listener.Addr().String()
}

// What a server does wrong is counted, each for itself.
func TestFaultsAreCounted(t *testing.T) {
	for _, test := range []struct {
		name                    string
		fault                   func(message []byte) []byte
		lost, duplicates, wrong uint64
	}{
		{"lost", func([]byte) []byte { return nil }, 1, 0, 0},
		{"doubled", func(m []byte) []byte { return slices.Repeat(m, 2) }, 0, 1, 0},
		{"changed", func(m []byte) []byte { m[20]++; return m }, 0, 0, 1},
		{"changed number", func(m []byte) []byte { m[15] = 'x'; return m }, 0, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := records(t, func(count int, message []byte) []byte {
				if count == 3 {
					return test.fault(message)
				}
				return message
			})
			r, err := load.Echo(t.Context(), load.EchoOptions{Options: briefly(address), Transport: load.Raw, Connections: 1, Bytes: 32, Window: 3})
			if err != nil {
				t.Fatal(err)
			}
			if r.Lost != test.lost || r.Duplicates != test.duplicates || r.Wrong != test.wrong {
				t.Errorf("%d lost, %d doubled, %d wrong", r.Lost, r.Duplicates, r.Wrong)
			}
		})
	}
}

// A broadcast whose only subscriber misses one message goes on, and says so.
func TestBroadcastLoss(t *testing.T) {
	address := records(t, func(count int, message []byte) []byte {
		switch count {
		case 2:
			return nil
		case 5:
			return slices.Repeat(message, 2)
		}
		return message
	})
	r, err := load.Broadcast(t.Context(), load.BroadcastOptions{Options: briefly(address), Transport: load.Raw, Connections: 1, Bytes: 32, Window: 4})
	if err != nil {
		t.Fatal(err)
	}
	if r.Lost != 1 || r.Duplicates != 1 || r.Wrong != 0 || r.Messages == 0 {
		t.Errorf("%d lost, %d doubled, %d wrong, %d messages", r.Lost, r.Duplicates, r.Wrong, r.Messages)
	}
}

// What never comes back is lost when the time for it is over.
func TestSilentServer(t *testing.T) {
	address := records(t, func(int, []byte) []byte { return nil })
	options := briefly(address)
	options.Duration = 50 * time.Millisecond
	options.DrainTimeout = 10 * time.Millisecond
	r, err := load.Echo(t.Context(), load.EchoOptions{Options: options, Transport: load.Raw, Connections: 3, Bytes: 32, Window: 2})
	if err != nil || r.Lost != 6 {
		t.Errorf("%d lost, %v; want 6", r.Lost, err)
	}
}

func TestRefusals(t *testing.T) {
	address := serve(t, echoing)
	run := func(change func(*load.EchoOptions)) error {
		o := load.EchoOptions{Options: briefly(address), Connections: 1, Bytes: 32}
		change(&o)
		_, err := load.Echo(t.Context(), o)
		return err
	}
	closing := serve(t, func(c *websocket.Conn) { c.Close(websocket.CloseGoingAway, "bye") })
	for name, change := range map[string]func(*load.EchoOptions){
		"another machine": func(o *load.EchoOptions) { o.Address = "192.0.2.1:80" },
		"no port":         func(o *load.EchoOptions) { o.Address = "127.0.0.1" },
		"short messages":  func(o *load.EchoOptions) { o.Bytes = load.MinBytes - 1 },
		"no connections":  func(o *load.EchoOptions) { o.Connections = 0 },
		"for ever":        func(o *load.EchoOptions) { o.Duration = 2 * time.Hour },
		"too many files":  func(o *load.EchoOptions) { o.Connections = 1 << 20 },
		"event stream":    func(o *load.EchoOptions) { o.Transport = load.SSE },
		"no deflate":      func(o *load.EchoOptions) { o.Deflate = true },
		"server ends":     func(o *load.EchoOptions) { o.Address = closing },
		"no such process": func(o *load.EchoOptions) { o.PID = 1 << 30 },
	} {
		if err := run(change); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	options := briefly(serve(t, echoing))
	options.Duration, options.Messages = time.Hour-time.Minute, 0
	options.Progress = func(p load.Progress) {
		if p.Messages > 0 {
			cancel(enough)
		}
	}
	_, err := load.Echo(ctx, load.EchoOptions{Options: options, Connections: 2, Bytes: 32})
	if !errors.Is(err, enough) {
		t.Errorf("the run ended with %v", err)
	}
}
