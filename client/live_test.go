package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/topic/memlog"
	"github.com/duplexhq/duplex/view"
	"github.com/duplexhq/duplex/view/viewtest"
)

// everyTransport is in the order in which a subscriber goes from one to the
// other.
var everyTransport = []Transport{WebSocket, SSE, Longpoll, Stream, Poll}

// A line is a network whose connections can be cut.
type line struct {
	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		l.mu.Lock()
		l.conns = append(l.conns, conn)
		l.mu.Unlock()
	}
	return conn, err
}

// cut ends all connections: by reset if hard, else in good order.
func (l *line) cut(hard bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.conns {
		if hard {
			_ = conn.(*net.TCPConn).SetLinger(0) // fails if it is closed already
		}
		conn.Close()
	}
	l.conns = nil
}

// live runs a server and gives a client of it, over a line.
func live(t *testing.T, opts *memlog.Options) (c *Client, l *line) {
	t.Helper()
	log := memlog.Open(opts)
	topics := viewtest.New(t, log, &view.Options{Retry: time.Millisecond})
	server := httptest.NewServer(topics)
	l = new(line)
	transport := &http.Transport{DialContext: l.dial}
	t.Cleanup(func() {
		c.Close()
		l.cut(false)
		transport.CloseIdleConnections()
		if err := topics.Drain(); err != nil {
			t.Error(err)
		}
		server.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := New(server.URL, &Options{
		HTTP: &http.Client{Transport: transport}, Memory: new(Memory),
		Backoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond, PollInterval: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, l
}

// publishLive publishes n events in the background, not far ahead of who
// reads them, and returns how to wait for their ids.
func publishLive(t *testing.T, c *Client, name string, n int) (ids func() []string) {
	events := make(chan Event, 10)
	var publishing sync.WaitGroup
	publishing.Go(func() {
		defer close(events)
		for i := range n {
			e := Event{Data: fmt.Appendf(nil, "event %d", i)}
			if i%10 == 0 {
				e = Event{Data: []byte{0xff, byte(i)}, Media: "application/octet-stream", Type: "binary"}
			}
			select {
			case events <- e:
			case <-t.Context().Done():
				return
			}
		}
	})
	var stored []string
	publishing.Go(func() {
		for id, err := range c.PublishAll(t.Context(), name, events) {
			if err != nil {
				t.Errorf("publish: %v", err)
				return
			}
			stored = append(stored, id)
		}
	})
	return func() []string { publishing.Wait(); return stored }
}

// A subscription that is cut again and again, while its topic is published to
// over connections that are cut too, yields each event once and in order.
func TestLosesNothing(t *testing.T) {
	const n = 1500
	for _, transport := range everyTransport {
		t.Run(string(transport), func(t *testing.T) {
			t.Parallel()
			c, l := live(t, nil)
			ids := publishLive(t, c, "a/b", n)
			var got []string
			use(t, c, transport)
			for e, err := range c.Subscribe(t.Context(), []string{"a/*", "c"}, &SubscribeOptions{After: Earliest}) {
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, e.ID); len(got) == n {
					break
				}
				if len(got)%100 == 50 {
					l.cut(len(got)%200 == 50)
				}
			}
			wantIDs(t, got, ids())
		})
	}
}

// One subscriber goes from transport to transport by the id of the last event.
func TestChangesTransport(t *testing.T) {
	const n = 1500
	c, l := live(t, nil)
	ids := publishLive(t, c, "a", n)
	var got []string
	after := Earliest
	for turn := 0; len(got) < n; turn++ {
		use(t, c, everyTransport[turn%len(everyTransport)])
		taken := 0
		for e, err := range c.Subscribe(t.Context(), []string{"a"}, &SubscribeOptions{After: after}) {
			if err != nil {
				t.Fatal(err)
			}
			got, after = append(got, e.ID), e.ID
			if taken++; taken == 70 || len(got) == n {
				break
			}
		}
		if turn%3 == 0 {
			l.cut(true)
		}
	}
	wantIDs(t, got, ids())
}

func wantIDs(t *testing.T, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range got {
		if i == len(want) || got[i] != want[i] {
			t.Fatalf("event %d of %d: got %s, published %v", i, len(want), got[i], want[i:min(i+1, len(want))])
		}
	}
	t.Fatalf("got %d of %d events", len(got), len(want))
}

// What is published after Opened is delivered, on every transport, with every
// byte and its type and media type.
func TestOpenedThenPublished(t *testing.T) {
	for _, transport := range everyTransport {
		t.Run(string(transport), func(t *testing.T) {
			c, _ := live(t, nil)
			published := []Event{
				{Data: []byte("one\r\ntwo\rthree\n\u2028\x00\x1b"), Type: "a type"},
				{Data: []byte{}},
				{Data: []byte("\xff\x00\r\n"), Media: "image/png"},
				{Data: []byte(`{"a": [1, "\u0041"]}`), Media: "application/json"},
				{Data: []byte(`"text"`), Media: "application/json"},
				{Data: []byte("<b>"), Media: "text/html; charset=utf-8"},
			}
			opened := make(chan struct{})
			var publishing sync.WaitGroup
			publishing.Go(func() {
				<-opened
				for _, e := range published {
					if _, err := c.Publish(t.Context(), "a", e.Data, &PublishOptions{Type: e.Type, Media: e.Media}); err != nil {
						t.Error(err)
					}
				}
			})
			defer publishing.Wait()
			use(t, c, transport)
			opts := &SubscribeOptions{Opened: sync.OnceFunc(func() { close(opened) })}
			i := 0
			for e, err := range c.Subscribe(t.Context(), []string{"a"}, opts) {
				if err != nil {
					t.Fatal(err)
				}
				want := published[i]
				// PROTOCOL.md §3.4: application/json is left out.
				if string(e.Data) != string(want.Data) || e.Type != want.Type || e.Topic != "a" || e.Media != want.Media && want.Media != "application/json" {
					t.Errorf("got %+v, want %+v", e, want)
				}
				if i++; i == len(published) {
					break
				}
			}
		})
	}
}

// PROTOCOL.md §4.6: "The client is told ..., and then delivery goes on with
// every event of the subscription that is still there and lies after C."
func TestGap(t *testing.T) {
	for _, transport := range everyTransport {
		t.Run(string(transport), func(t *testing.T) {
			c, _ := live(t, &memlog.Options{RetainEvents: 2})
			use(t, c, transport)
			var ids []string
			for i := range 5 {
				id, err := c.Publish(t.Context(), "a", fmt.Append(nil, i), nil)
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, id)
			}
			for _, after := range []string{ids[0], "no-cursor"} {
				var got []string
				for e, err := range c.Subscribe(t.Context(), []string{"a"}, &SubscribeOptions{After: after}) {
					if err != nil {
						t.Fatal(err)
					}
					if got = append(got, e.Type+string(e.Data)); len(got) == 3 {
						break
					}
				}
				want := fmt.Sprintf(`$gap{"after":%q,"oldest":%q`, after, ids[3])
				if transport == WebSocket {
					want += `,"topic":"a"` // §6.4
				}
				wantList(t, "yielded", got, want+"}", "3", "4")
			}
		})
	}
}

// PROTOCOL.md §7.5: "One-topic subscribers get what is left, $end, and are
// closed", also those who come later.
func TestEndedTopic(t *testing.T) {
	for _, transport := range everyTransport {
		t.Run(string(transport), func(t *testing.T) {
			c, _ := live(t, nil)
			use(t, c, transport)
			id, err := c.Publish(t.Context(), "a", []byte("last"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.End(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			for after, want := range map[string][]string{
				Earliest: {"last", `$end{"topic":"a"}`},
				id:       {`$end{"topic":"a"}`},
				Now:      {`$end{"topic":"a"}`},
			} {
				var got []string
				for e, err := range c.Subscribe(t.Context(), []string{"a"}, &SubscribeOptions{After: after}) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, e.Type+string(e.Data))
				}
				wantList(t, "after "+after, got, want...)
			}
			_, err = c.Publish(t.Context(), "a", nil, nil)
			if e, ok := errors.AsType[*ProblemError](err); !ok || e.Name != "topic-ended" {
				t.Errorf("publish after the end: %v", err)
			}
		})
	}
}

// use makes the client use one transport.
func use(t *testing.T, c *Client, transport Transport) {
	t.Helper()
	if err := c.Use(transport); err != nil {
		t.Fatal(err)
	}
}

// A subscription to several topics keeps the order of the log while it is taken
// over, again and again, from and to everything.
func TestTakesOverSeveralTopics(t *testing.T) {
	const n = 1500
	c, l := live(t, nil)
	idsA, idsB := publishLive(t, c, "a", n), publishLive(t, c, "b/1", n)
	var got []string
	place := make(map[string]int) // of each id
	for e, err := range c.Subscribe(t.Context(), []string{"a", "b/*"}, &SubscribeOptions{After: Earliest}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := place[e.ID]; ok {
			t.Fatalf("%s came twice", e.ID)
		}
		place[e.ID] = len(got)
		if got = append(got, e.ID); len(got) == 2*n {
			break
		}
		if len(got)%40 == 0 {
			use(t, c, everyTransport[(len(got)/40)%len(everyTransport)])
		}
		if len(got)%500 == 0 {
			l.cut(len(got)%1000 == 0)
		}
	}
	var log []string
	for after := Earliest; ; {
		page, err := c.History(t.Context(), []string{"a", "b/*"}, &HistoryOptions{After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			log = append(log, e.ID)
		}
		if after = page.Cursor; !page.More {
			break
		}
	}
	if idsA(); len(idsB()) != n {
		t.Error("not everything was published")
	}
	wantIDs(t, got, log)
}
