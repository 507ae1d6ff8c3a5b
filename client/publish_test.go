package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A store takes publishes as a server does, as far as the client can tell.
type store struct {
	t        *testing.T
	requests []string          // "path query type key? body"
	answers  map[string]string // by key
	events   int
	fail     func(request int, w http.ResponseWriter) bool // before or after storing
}

func (s *store) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	key := r.Header.Get("Idempotency-Key")
	if key != "" && !(strings.HasPrefix(key, `"`) && strings.HasSuffix(key, `"`)) {
		s.t.Errorf("key %s is not a string", key)
	}
	s.requests = append(s.requests, fmt.Sprintf("%s %s %s %q", r.RequestURI, r.Header.Get("Content-Type"), r.Method, body))
	answer, repeated := s.answers[key]
	if !repeated {
		answer = s.store(r, body)
		if s.answers == nil {
			s.answers = make(map[string]string)
		}
		if key != "" {
			s.answers[key] = answer
		}
	}
	if s.fail != nil && s.fail(len(s.requests), w) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer)
}

func (s *store) store(r *http.Request, body []byte) string {
	if !r.URL.Query().Has("batch") {
		s.events++
		return fmt.Sprintf(`{"id":"e-%d"}`, s.events)
	}
	var ids []string
	for range strings.Lines(string(body)) {
		s.events++
		ids = append(ids, fmt.Sprintf("e-%d", s.events))
	}
	answer, err := json.Marshal(map[string]any{"ids": ids})
	if err != nil {
		s.t.Error(err)
	}
	return string(answer)
}

func TestPublish(t *testing.T) {
	s := &store{t: t}
	bubble(t, s.serve, func(t *testing.T, c *Client) {
		for i, test := range []struct {
			topic, data string
			opts        *PublishOptions
		}{
			{"a", "hello", nil},
			{"a b/ä%2F;?#", "", &PublishOptions{Type: "x&y", Media: "image/png", Key: "k"}},
		} {
			id, err := c.Publish(t.Context(), test.topic, []byte(test.data), test.opts)
			if want := fmt.Sprintf("e-%d", i+1); err != nil || id != want {
				t.Errorf("got %q, %v; want %q", id, err, want)
			}
		}
		wantList(t, "requests", s.requests,
			`/base/topics/a  POST "hello"`,
			`/base/topics/a%20b/%C3%A4%252F%3B%3F%23?event=x%26y image/png POST ""`,
		)
	})
}

// The user says whether to try again.
func TestPublishIsNotRepeated(t *testing.T) {
	s := &store{t: t, fail: func(_ int, w http.ResponseWriter) bool {
		refuse(w, http.StatusServiceUnavailable, "unavailable")
		return true
	}}
	bubble(t, s.serve, func(t *testing.T, c *Client) {
		c.opts.Retry = func(error, time.Duration) bool { return false }
		_, err := c.Publish(t.Context(), "a", nil, nil)
		if e, ok := errors.AsType[*ProblemError](err); !ok || e.Name != "unavailable" || !e.Temporary() || len(s.requests) != 1 {
			t.Errorf("error %v after %d requests", err, len(s.requests))
		}
	})
}

// PROTOCOL.md §7.1: "A publish that got a 5xx or no answer may have been stored:
// repeat it with the same Idempotency-Key."
func TestPublishIsRepeated(t *testing.T) {
	s := &store{t: t, fail: func(request int, w http.ResponseWriter) bool {
		switch request {
		case 1:
			panic(http.ErrAbortHandler) // stored, and nobody knows
		case 2:
			w.Header().Set("Retry-After", "3")
			refuse(w, http.StatusConflict, "key-in-progress")
			return true
		case 3:
			refuse(w, http.StatusBadGateway, "")
			return true
		}
		return false
	}}
	bubble(t, s.serve, func(t *testing.T, c *Client) {
		id, err := c.Publish(t.Context(), "a", []byte("x"), nil)
		if err != nil || id != "e-1" || s.events != 1 || len(s.requests) != 4 {
			t.Errorf("got %q, %v; %d events, %d requests", id, err, s.events, len(s.requests))
		}
	})
}

func TestPublishIsRefused(t *testing.T) {
	bubble(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusConflict, "topic-ended") }, func(t *testing.T, c *Client) {
		_, err := c.Publish(t.Context(), "a", nil, &PublishOptions{Key: "k"})
		if e, ok := errors.AsType[*ProblemError](err); !ok || e.Name != "topic-ended" || e.Temporary() {
			t.Errorf("got %v", err)
		}
	})
}

// A server that is away for long is given up while it surely remembers the
// key.
func TestPublishGivesUp(t *testing.T) {
	bubble(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusServiceUnavailable, "unavailable") }, func(t *testing.T, c *Client) {
		began := time.Now()
		_, err := c.Publish(t.Context(), "a", nil, &PublishOptions{Key: "k"})
		if took := time.Since(began); !errors.Is(err, ErrUnknown) || took < unknownFor/4 || took > unknownFor {
			t.Errorf("error %v after %v", err, took)
		}
	})
}

func TestPublishAll(t *testing.T) {
	s := &store{t: t}
	bubble(t, s.serve, func(t *testing.T, c *Client) {
		events := make(chan Event, 20)
		for _, e := range []Event{
			{Data: []byte("one")},
			{Data: []byte("tw\"o\n\u2028<"), Type: "x"},
			{Data: []byte("{\"a\":\r\n1}"), Media: "application/json"},
			{Data: []byte(`"text"`), Media: "application/json"}, // in a batch, it would become text/plain
			{Data: []byte("\xff")},
			{Data: []byte("1}\n{\"data\":2"), Media: "application/json"}, // not JSON: must not be taken for a line
			{Data: nil, Media: "text/plain"},
			{Data: []byte("x"), Media: "text/html"},
		} {
			events <- e
		}
		var ids []string
		go func() {
			synctest.Wait()
			events <- Event{Data: []byte("late")}
			close(events)
		}()
		for id, err := range c.PublishAll(t.Context(), "a", events) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		wantList(t, "ids", ids, "e-1", "e-2", "e-3", "e-4", "e-5", "e-6", "e-7", "e-8", "e-9")
		lines := `{"data":"one"}` + "\n" + `{"event":"x","data":"tw\"o\n\u2028\u003c"}` + "\n" + `{"data":{"a":  1}}` + "\n"
		wantList(t, "requests", s.requests,
			fmt.Sprintf("/base/topics/a?batch=1 application/x-ndjson POST %q", lines),
			`/base/topics/a application/json POST "\"text\""`,
			`/base/topics/a  POST "\xff"`,
			`/base/topics/a application/json POST "1}\n{\"data\":2"`,
			`/base/topics/a text/plain POST ""`,
			`/base/topics/a text/html POST "x"`,
			`/base/topics/a  POST "late"`,
		)
	})
}

// Each event is stored once, in order, also when answers are lost.
func TestPublishAllRepeats(t *testing.T) {
	s := &store{t: t, fail: func(request int, _ http.ResponseWriter) bool {
		if request%2 == 1 {
			panic(http.ErrAbortHandler)
		}
		return false
	}}
	bubble(t, s.serve, func(t *testing.T, c *Client) {
		const n = 2500
		events := make(chan Event, n)
		for i := range n {
			events <- Event{Data: fmt.Append(nil, i)}
		}
		close(events)
		stored := 0
		for id, err := range c.PublishAll(t.Context(), "a", events) {
			if stored++; err != nil || id != fmt.Sprintf("e-%d", stored) {
				t.Fatalf("event %d: %q, %v", stored, id, err)
			}
		}
		if stored != n || s.events != n || len(s.requests) != 6 {
			t.Errorf("%d ids, %d events, %d requests", stored, s.events, len(s.requests))
		}
	})
}

func TestPublishAllEnds(t *testing.T) {
	bubble(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusConflict, "topic-ended") }, func(t *testing.T, c *Client) {
		events := make(chan Event, 1)
		events <- Event{}
		steps := 0
		for _, err := range c.PublishAll(t.Context(), "a", events) {
			if e, ok := errors.AsType[*ProblemError](err); !ok || e.Name != "topic-ended" {
				t.Errorf("got %v", err)
			}
			steps++
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stop")
		time.AfterFunc(time.Second, func() { cancel(stop) })
		for _, err := range c.PublishAll(ctx, "a", events) {
			if err != stop {
				t.Errorf("got %v, want the context's cause", err)
			}
			steps++
		}
		if steps != 2 {
			t.Errorf("%d steps, want an error each", steps)
		}
	})
}
