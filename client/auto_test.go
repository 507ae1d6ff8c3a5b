package client

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// Subscriptions share a connection, unless they match the same topics.
func TestSharesOneConnection(t *testing.T) {
	c, l := live(t, nil)
	use(t, c, WebSocket)
	var reading, placed sync.WaitGroup
	names := []string{"a", "b", "c/*", "d/**", "d/x", "a"}
	got := make([][]string, len(names))
	for i, name := range names {
		placed.Add(1)
		opened := sync.OnceFunc(placed.Done)
		reading.Go(func() {
			for e, err := range c.Subscribe(t.Context(), []string{name}, &SubscribeOptions{Opened: opened}) {
				if err != nil {
					t.Error(err)
					return
				}
				if got[i] = append(got[i], string(e.Data)); len(got[i]) == 2 {
					return
				}
			}
		})
	}
	placed.Wait()
	l.mu.Lock()
	conns := len(l.conns)
	l.mu.Unlock()
	if conns != 3 {
		t.Errorf("%d connections, want one, and one each for d/x and the second a", conns)
	}
	for _, name := range []string{"a", "b", "c/1", "d/x"} {
		for _, data := range []string{"1", "2"} {
			if _, err := c.Publish(t.Context(), name, []byte(name+data), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	reading.Wait()
	for i, want := range []string{"a", "b", "c/1", "d/x", "d/x", "a"} {
		wantList(t, names[i], got[i], want+"1", want+"2")
	}
}

// A loop that takes its time holds up no other, and gets everything.
func TestSlowLoop(t *testing.T) {
	const n = 2000
	c, _ := live(t, nil)
	use(t, c, WebSocket)
	stop := make(chan struct{})
	var slow sync.WaitGroup
	var got []string
	slow.Go(func() {
		first := true
		for e, err := range c.Subscribe(t.Context(), []string{"a"}, &SubscribeOptions{After: Earliest}) {
			if err != nil {
				t.Error(err)
				return
			}
			if first {
				<-stop
				first = false
			}
			if got = append(got, e.ID); len(got) == n {
				return
			}
		}
	})
	ids := publishLive(t, c, "a", n)
	want := ids()
	if _, err := c.Publish(t.Context(), "b", []byte("x"), nil); err != nil {
		t.Fatal(err)
	}
	for _, err := range c.Subscribe(t.Context(), []string{"b"}, &SubscribeOptions{After: Earliest}) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	close(stop)
	slow.Wait()
	wantIDs(t, got, want)
}

func TestStatus(t *testing.T) {
	s := &script{t: t, transport: SSE, connections: [][]string{{ping("e-0"), event("e-1")}}}
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		s.serve(w, r)
	}
	bubble(t, handler, func(t *testing.T, c *Client) {
		if state := c.Status().State; state != Idle {
			t.Errorf("state %s before the first subscription", state)
		}
		var states []State
		var watching sync.WaitGroup
		watching.Go(func() {
			for status := range c.Changes(t.Context()) {
				states = append(states, status.State)
			}
		})
		synctest.Wait()
		if _, err := collect(t.Context(), c, []string{"a"}, nil, 1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		status := c.Status()
		if status.State != Idle || status.Failed[WebSocket] == nil {
			t.Errorf("status %+v: want it to know why there was no WebSocket", status)
		}
		c.Close()
		watching.Wait()
		if states[0] != Idle || states[len(states)-1] != Closed {
			t.Errorf("states %v", states)
		}
		if _, err := collect(t.Context(), c, []string{"a"}, nil, 1); err != ErrClosed {
			t.Errorf("subscribed to a closed client: %v", err)
		}
		if _, err := c.Publish(t.Context(), "a", nil, nil); err != ErrClosed {
			t.Errorf("published by a closed client: %v", err)
		}
	})
}

// The outbox is bounded, keeps the order, and gives a batch to the server.
func TestOutbox(t *testing.T) {
	s := &store{t: t}
	var down atomic.Bool
	down.Store(true)
	handler := func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.Header().Set("Retry-After", "20")
			refuse(w, http.StatusServiceUnavailable, "unavailable")
			return
		}
		s.serve(w, r)
	}
	bubble(t, handler, func(t *testing.T, c *Client) {
		c.opts.Outbox = 3
		ids := make([]string, 3)
		var publishing sync.WaitGroup
		for i := range ids {
			publishing.Go(func() {
				var err error
				if ids[i], err = c.Publish(t.Context(), "a", []byte{byte('0' + i)}, nil); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		if _, err := c.Publish(t.Context(), "a", nil, nil); err != ErrOutboxFull || c.Unsent() != 3 {
			t.Errorf("%v with %d unsent, want it full with 3", err, c.Unsent())
		}
		down.Store(false)
		began := time.Now()
		publishing.Wait()
		if took := time.Since(began); took < 20*time.Second || took > 30*time.Second {
			t.Errorf("took %v, with a Retry-After of 20 s", took)
		}
		wantList(t, "ids", ids, "e-1", "e-2", "e-3")
		if len(s.requests) != 2 {
			t.Errorf("%d requests, want the first and a batch: %q", len(s.requests), s.requests)
		}
	})
}

// PROTOCOL.md §15.7: a refused publish fails alone, also if it was part of a batch.
func TestOutboxRefused(t *testing.T) {
	s := &store{t: t}
	var proceed chan struct{}
	handler := func(w http.ResponseWriter, r *http.Request) {
		<-proceed
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if bytes.Contains(body, []byte("bad")) {
			refuse(w, http.StatusBadRequest, "bad-json")
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.serve(w, r)
	}
	bubble(t, handler, func(t *testing.T, c *Client) {
		proceed = make(chan struct{})
		texts := []string{"first", "good", "bad", "better", "later"}
		ids, errs := make([]string, len(texts)), make([]error, len(texts))
		var publishing sync.WaitGroup
		for i, text := range texts {
			publishing.Go(func() { ids[i], errs[i] = c.Publish(t.Context(), "a", []byte(text), nil) })
			synctest.Wait()
		}
		close(proceed)
		publishing.Wait()
		wantList(t, "ids", ids, "e-1", "e-2", "", "e-3", "e-4")
		for i, err := range errs {
			if problem, ok := errors.AsType[*ProblemError](err); ok != (texts[i] == "bad") || ok && problem.Name != "bad-json" || !ok && err != nil {
				t.Errorf("%s: %v", texts[i], err)
			}
		}
	})
}

func TestOverlap(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a/b", "a", false},
		{"a/*", "a/b", true}, {"a/*", "a/b/c", false}, {"*/b", "a/*", true}, {"*/b", "a/c", false},
		{"**", "a", true}, {"a/**", "a", false}, {"a/**", "*/b/c", true}, {"a/**", "b/**", false},
	} {
		a, err := topic.ParsePattern(test.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := topic.ParsePattern(test.b)
		if err != nil {
			t.Fatal(err)
		}
		if overlap(a, b) != test.want || overlap(b, a) != test.want {
			t.Errorf("%s and %s: want %v", a, b, test.want)
		}
	}
}
