package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
)

var streaming = []Transport{WebSocket, SSE, Stream}

func ping(id string) string {
	return fmt.Sprintf(`{"id":%q,"event":"$ping","data":{"interval":10}}`, id)
}

func event(id string) string {
	return fmt.Sprintf(`{"id":%q,"topic":"a","data":"of %s","time":"2026-08-22T10:15:30Z"}`, id, id)
}

// collect gathers what a subscription yields, until there are n or it ends.
func collect(ctx context.Context, c *Client, topics []string, opts *SubscribeOptions, n int) (got []string, err error) {
	for e, err := range c.Subscribe(ctx, topics, opts) {
		if err != nil {
			return got, err
		}
		if got = append(got, text(e)); len(got) == n {
			break
		}
	}
	return got, nil
}

func wantList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// PROTOCOL.md §4.3: "Every event id is a cursor. Other cursors come from the
// server: ... id of a signal".
func TestGoesOnAfterEveryCut(t *testing.T) {
	for _, transport := range streaming {
		t.Run(string(transport), func(t *testing.T) {
			s := &script{t: t, transport: transport, connections: [][]string{
				{ping("e-0"), event("e-1"), event("e-2")},
				{ping("e-2"), `{"id":"e-5","event":"$new","data":{}}`}, // "MUST ignore signals that they do not know, but keep their id"
				{},
				{`{"id":"e-7-9","event":"$gap","data":{"after":"e-5","topic":"a"}}`, ping("e-7-9")},
				{ping("e-7-9"), event("e-8"), ping("e-9"), event("e-10")},
			}}
			bubble(t, s.serve, func(t *testing.T, c *Client) {
				opened := 0
				use(t, c, transport)
				opts := &SubscribeOptions{After: Earliest, Opened: func() { opened++ }}
				got, err := collect(t.Context(), c, []string{"a"}, opts, 5)
				if err != nil {
					t.Fatal(err)
				}
				wantList(t, "yielded", got, "e-1  of e-1", "e-2  of e-2", `e-7-9 $gap {"after":"e-5","topic":"a"}`, "e-8  of e-8", "e-10  of e-10")
				wantList(t, "asked for", s.asked, "earliest", "e-2", "e-5", "e-5", "e-7-9")
				if opened != 4 {
					t.Errorf("opened %d times, want 4: one connection brought nothing", opened)
				}
			})
		})
	}
}

// PROTOCOL.md §6.5: "A subscription to one topic is over with it; a pattern or
// several topics go on."
func TestEnd(t *testing.T) {
	lines := []string{ping("e-0"), `{"id":"e-1","event":"$end","data":{"topic":"a"}}`, event("e-2")}
	for _, transport := range streaming {
		for _, test := range []struct {
			topics []string
			want   []string
		}{
			{[]string{"a"}, []string{`e-1 $end {"topic":"a"}`}},
			{[]string{"*"}, []string{`e-1 $end {"topic":"a"}`, "e-2  of e-2"}},
			{[]string{"a", "b"}, []string{`e-1 $end {"topic":"a"}`, "e-2  of e-2"}},
		} {
			t.Run(fmt.Sprint(transport, test.topics), func(t *testing.T) {
				s := &script{t: t, transport: transport, connections: [][]string{lines}}
				bubble(t, s.serve, func(t *testing.T, c *Client) {
					got, err := collectBy(t, c, transport, test.topics, 2)
					if err != nil {
						t.Fatal(err)
					}
					wantList(t, "yielded", got, test.want...)
				})
			})
		}
	}
}

// PROTOCOL.md §7.5: "An sse or stream request whose cursor is at the end or
// after it gets 204".
func TestEndByNoContent(t *testing.T) {
	for _, transport := range []Transport{SSE, Stream} {
		bubble(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, func(t *testing.T, c *Client) {
			use(t, c, transport)
			got, err := collect(t.Context(), c, []string{"a\"b"}, &SubscribeOptions{After: "e-9"}, 9)
			if err != nil {
				t.Fatal(err)
			}
			wantList(t, "yielded", got, `e-9 $end {"topic":"a\"b"}`)
		})
	}
}

// PROTOCOL.md §6.3: "A client that received nothing for 1.5 intervals SHOULD
// take the connection for dead and go on from its cursor."
func TestIdle(t *testing.T) {
	for _, transport := range streaming {
		t.Run(string(transport), func(t *testing.T) {
			var times []time.Time
			handler := func(w http.ResponseWriter, r *http.Request) {
				times = append(times, time.Now())
				lines := []string{ping("e-1")}
				if len(times) == 2 {
					lines = []string{ping("e-1"), event("e-2")}
				}
				send(t, transport, w, r, lines, true)
			}
			bubble(t, handler, func(t *testing.T, c *Client) {
				var causes []error
				c.opts.Retry = func(cause error, _ time.Duration) bool { causes = append(causes, cause); return true }
				if _, err := collectBy(t, c, transport, []string{"a"}, 1); err != nil {
					t.Fatal(err)
				}
				// 1.5 intervals of 10 s, and at most 1.5 s before the next connection.
				took := times[1].Sub(times[0])
				if took < 15*time.Second || took > 16500*time.Millisecond {
					t.Errorf("connected again after %v (%v)", took, causes)
				}
			})
		})
	}
}

// A server that accepts connections and never answers is left, too.
func TestNoAnswer(t *testing.T) {
	for _, transport := range []Transport{WebSocket, SSE, Stream, Longpoll, Poll} {
		t.Run(string(transport), func(t *testing.T) {
			bubble(t, func(_ http.ResponseWriter, r *http.Request) {
				// Blocks a WebSocket's request, too: net/http notices its end.
				<-r.Context().Done()
			}, func(t *testing.T, c *Client) {
				var cause error
				c.opts.Retry = func(err error, _ time.Duration) bool { cause = err; return false }
				began := time.Now()
				_, err := collectBy(t, c, transport, []string{"a"}, 1)
				if err == nil || err != cause {
					t.Errorf("got %v, want the cause %v", err, cause)
				}
				if took := time.Since(began); took < 25*time.Second || took > 40*time.Second {
					t.Errorf("gave up after %v", took)
				}
			})
		})
	}
}

func TestRefusal(t *testing.T) {
	for _, transport := range []Transport{WebSocket, SSE, Stream, Longpoll, Poll} {
		t.Run(string(transport), func(t *testing.T) {
			requests := 0
			bubble(t, func(w http.ResponseWriter, _ *http.Request) {
				requests++
				switch requests {
				case 1:
					w.Header().Set("Retry-After", "20")
					refuse(w, http.StatusServiceUnavailable, "shutting-down")
				case 2:
					refuse(w, http.StatusTooManyRequests, "too-many")
				default:
					refuse(w, http.StatusForbidden, "origin-refused")
				}
			}, func(t *testing.T, c *Client) {
				began := time.Now()
				_, err := collectBy(t, c, transport, []string{"a"}, 1)
				problem, ok := errors.AsType[*ProblemError](err)
				if !ok || problem.Status != 403 || problem.Name != "origin-refused" || err.Error() != "403 The title: the detail" {
					t.Errorf("got %v", err)
				}
				want := 3
				if transport == WebSocket {
					want++ // without the topic: the refusal may be for that
				}
				if requests != want {
					t.Errorf("%d requests, want %d", requests, want)
				}
				// RFC 9110 §10.2.3: "how long the user agent ought to wait".
				if took := time.Since(began); took < 20*time.Second || took > 34*time.Second {
					t.Errorf("took %v, with a Retry-After of 20 s", took)
				}
			})
		})
	}
}

// HTML §9.2.6: "set the event stream's reconnection time to that integer".
func TestRetryField(t *testing.T) {
	var times []time.Time
	bubble(t, func(w http.ResponseWriter, r *http.Request) {
		times = append(times, time.Now())
		if len(times) == 1 {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: "+event("e-1")+"\n\nretry: 60000\n\n")
			return
		}
		send(t, SSE, w, r, []string{event("e-2")}, true)
	}, func(t *testing.T, c *Client) {
		if _, err := collectBy(t, c, SSE, []string{"a"}, 2); err != nil {
			t.Fatal(err)
		}
		if took := times[1].Sub(times[0]); took < time.Minute || took > 90*time.Second {
			t.Errorf("connected again after %v", took)
		}
	})
}

// Who leaves the loop, or ends its context, closes the connection.
func TestLeaving(t *testing.T) {
	for _, transport := range streaming {
		t.Run(string(transport), func(t *testing.T) {
			gone := make(chan struct{})
			handler := func(w http.ResponseWriter, r *http.Request) {
				defer close(gone)
				send(t, transport, w, r, []string{ping("e-1"), event("e-2")}, true)
			}
			bubble(t, handler, func(t *testing.T, c *Client) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				stop := errors.New("stop")
				time.AfterFunc(5*time.Second, func() { cancel(stop) })
				use(t, c, transport)
				got, err := collect(ctx, c, []string{"a"}, nil, 2)
				if err != stop {
					t.Errorf("got %v, want the context's cause", err)
				}
				wantList(t, "yielded", got, "e-2  of e-2")
				<-gone
			})
		})
	}
}

func TestBrokenAnswer(t *testing.T) {
	tests := map[string]http.HandlerFunc{
		"not an event": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-ndjson")
			_, _ = io.WriteString(w, "{\"id\":\"e-1\"}\n")
		},
		"not a Duplex server": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "<html>")
		},
		"a line without end": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-ndjson")
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
		},
	}
	for name, handler := range tests {
		t.Run(name, func(t *testing.T) {
			requests := 0
			bubble(t, func(w http.ResponseWriter, r *http.Request) { requests++; handler(w, r) }, func(t *testing.T, c *Client) {
				c.opts.MaxMessageBytes = 1 << 16
				c.opts.Retry = func(error, time.Duration) bool { return false }
				_, err := collectBy(t, c, Stream, []string{"a"}, 1)
				if err == nil || requests != 1 {
					t.Errorf("error %v after %d requests, want one after 1", err, requests)
				}
			})
		})
	}
}

func TestFaultyArguments(t *testing.T) {
	for _, base := range []string{"", "duplex.test", "ftp://duplex.test", "http://", "http://a/?x=1", "http://a/#x", "http://a b/"} {
		if _, err := New(base, nil); err == nil {
			t.Errorf("server %q: accepted", base)
		}
	}
	c, err := New("http://127.0.0.1:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, topics := range [][]string{nil, {""}, {"a//b"}, {"../a"}, {"a", "b*"}} {
		if _, err := collect(t.Context(), c, topics, nil, 1); err == nil {
			t.Errorf("topics %q: accepted", topics)
		}
	}
	if err := c.Use("carrier-pigeon"); err == nil {
		t.Error("transport: accepted")
	}
	if _, err := c.Publish(t.Context(), "a/../b", nil, nil); err == nil {
		t.Error("publish: accepted")
	}
}

// The wait doubles with each failure in a row, and starts over after one
// connection that worked.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := backoff{first: time.Second, most: 8 * time.Second}
		for _, want := range []time.Duration{1, 2, 4, 8, 8, 8} {
			want *= time.Second
			if got := b.next(0); got < 0 || got > want {
				t.Errorf("waits %v, want at most %v", got, want)
			}
		}
		if got := b.next(time.Minute); got < time.Minute || got > 90*time.Second {
			t.Errorf("waits %v, and a minute was asked for", got)
		}
		if got := b.next(1000 * time.Hour); got > longestWait*3/2 {
			t.Errorf("waits %v", got)
		}
		b.succeeded()
		if got := b.next(0); got > time.Second {
			t.Errorf("waits %v after a success", got)
		}
	})
}

// "A client that keeps one cursor for several subscriptions does not take that
// of a $gap: events of another may still come before it." (PROTOCOL.md §8.6)
func TestGapOfOneOfSeveralTopics(t *testing.T) {
	for passesOthers, want := range map[bool]string{true: "x-1", false: "x-9"} {
		s, err := newSubscription([]string{"a", "b"}, &SubscribeOptions{After: "x-1"})
		if err != nil {
			t.Fatal(err)
		}
		f, _ := s.begin()
		if err := f.promote(1, ""); err != nil {
			t.Fatal(err)
		}
		if err := f.take(topic.Envelope{ID: "x-9", Type: topic.TypeGap}, passesOthers); err != nil || s.cursor != want {
			t.Errorf("goes on from %s (%v), want %s", s.cursor, err, want)
		}
	}
}
