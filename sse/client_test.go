package sse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/internal/testnet"
)

// A stream that ends is continued after the reconnection time, from the last
// event's id (§9.2.3), until a 204.
func TestEventsResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(
			stream("id: 1\ndata: a\n\nid: 2\ndata: cut off"),
			stream("retry: 200\n\ndata: b\n\n"),
			stream("id: 3\n\n"),
			stream(":\n\nretry: 5000\n\n"),
			stream("id\ndata: c\n\n"),
			stream("data: d\n\n"),
		)
		_, client := serve(t, &http.Server{Handler: s})
		opts := exactly(client)
		opts.LastEventID = "0"
		got, err := collect(t.Context(), "http://test/topic", opts)
		if want := []string{"message|1|a", "message|1|b", "message||c", "message||d"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
		const s3, ms200, s5 = 3 * time.Second, 200 * time.Millisecond, 5 * time.Second
		if want := []visit{
			{0, "0"},
			{s3, "1"},
			{s3 + ms200, "1"},
			{s3 + 2*ms200, "3"},
			{s3 + 2*ms200 + s5, "3"},
			{s3 + 2*ms200 + 2*s5, ""},
			{s3 + 2*ms200 + 3*s5, ""},
		}; !slices.Equal(s.visits(), want) {
			t.Errorf("requests: %v, want %v", s.visits(), want)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// While nothing comes, the wait doubles; as soon as something did, it is the
// reconnection time again.
func TestEventsBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(
			stream(""), stream(""), // answers, but brings nothing
			stream(":\n"), // a heartbeat is something
		)
		_, client := serve(t, &http.Server{Handler: s})
		start := time.Now()
		var failed []time.Duration
		inner := client.Transport
		client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if len(failed) < 7 {
				failed = append(failed, time.Since(start)/time.Second)
				return nil, errors.New("no route")
			}
			return inner.RoundTrip(r)
		})
		opts := exactly(client)
		opts.MaxBackoff = 30 * time.Second
		if got, err := collect(t.Context(), "http://test/", opts); err != nil || got != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if want := []time.Duration{0, 3, 9, 21, 45, 75, 105}; !slices.Equal(failed, want) {
			t.Errorf("failed at %d s, want %d s", failed, want)
		}
		var visits []time.Duration
		for _, visit := range s.visits() {
			visits = append(visits, visit.at/time.Second)
		}
		if want := []time.Duration{135, 165, 195, 198}; !slices.Equal(visits, want) {
			t.Errorf("requests at %d s, want %d s", visits, want)
		}
	})
}

// 429 and 503 say "later", and may say when (RFC 6585 §4, RFC 9110 §15.6.4).
func TestEventsRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(
			status(http.StatusServiceUnavailable, "120"),
			func(w http.ResponseWriter, r *http.Request) {
				status(http.StatusTooManyRequests, time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))(w, r)
			},
			status(http.StatusServiceUnavailable, ""),
			status(http.StatusServiceUnavailable, "1"),
		)
		_, client := serve(t, &http.Server{Handler: s})
		opts := exactly(client)
		opts.LastEventID = "7"
		if got, err := collect(t.Context(), "http://test/", opts); err != nil || got != nil {
			t.Errorf("got %q, %v", got, err)
		}
		const hour = 3600 * time.Second
		if want := []visit{
			{0, "7"},
			{120 * time.Second, "7"},
			{120*time.Second + hour, "7"},
			{120*time.Second + hour + 12*time.Second, "7"},
			{120*time.Second + hour + 12*time.Second + 24*time.Second, "7"},
		}; !slices.Equal(s.visits(), want) {
			t.Errorf("requests: %v, want %v", s.visits(), want)
		}
	})
}

// The idle limit counts silence only: before the answer, and within it.
func TestEventsIdleLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 30 * time.Second
		s := newScript(
			func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			func(w http.ResponseWriter, r *http.Request) {
				sw, err := NewWriter(w, r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				for range 10 {
					time.Sleep(limit - time.Nanosecond)
					_ = sw.Comment("")
				}
				_ = sw.Send(&Event{ID: "1", Data: []byte("x")})
				<-r.Context().Done()
			},
		)
		_, client := serve(t, &http.Server{Handler: s})
		opts := exactly(client)
		opts.IdleLimit = limit
		var causes []error
		opts.Reconnect = func(cause error, _ time.Duration) bool {
			causes = append(causes, cause)
			return Temporary(cause)
		}
		var events int
		for event, err := range Events(t.Context(), "http://test/", opts) {
			if err != nil {
				t.Fatal(err)
			}
			if events++; event.ID != "1" {
				t.Errorf("event %v", event)
			}
			time.Sleep(5 * limit) // our own slowness is not the server's silence
		}
		if want := []error{ErrIdle, ErrIdle}; !slices.Equal(causes, want) {
			t.Errorf("causes %v, want %v", causes, want)
		}
		second := limit + 3*time.Second
		third := second + 10*(limit-time.Nanosecond) + 5*limit + limit + 3*time.Second
		if want := []visit{{0, ""}, {second, ""}, {third, "1"}}; events != 1 || !slices.Equal(s.visits(), want) {
			t.Errorf("%d events, requests %v, want %v", events, s.visits(), want)
		}
	})
}

// The end of the context is final, wherever it finds the loop.
func TestEventsContext(t *testing.T) {
	stop := errors.New("stop")
	forever := func(w http.ResponseWriter, r *http.Request) {
		sw, err := NewWriter(w, r, nil)
		if err != nil {
			return
		}
		_ = sw.Comment("")
		<-r.Context().Done()
	}
	for name, answer := range map[string]http.HandlerFunc{
		"before the answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"within the stream": forever,
		"between two":       stream("retry: 60000\n"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript(answer)
				_, client := serve(t, &http.Server{Handler: s})
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(10*time.Second, func() { cancel(stop) })
				opts := exactly(client)
				opts.Reconnect = func(error, time.Duration) bool { return true }
				got, err := collect(ctx, "http://test/", opts)
				if err != stop || got != nil || time.Since(s.start) != 10*time.Second || len(s.visits()) != 1 {
					t.Errorf("got %q, %v after %v and %d requests", got, err, time.Since(s.start), len(s.visits()))
				}
			})
		})
	}
	t.Run("before the start", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(stop)
		if got, err := collect(ctx, "http://test.invalid/", nil); err != stop || got != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// Leaving the loop closes the connection. (A goroutine left behind would fail
// the bubble.)
func TestEventsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		_, client := serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sw, err := NewWriter(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			_ = sw.Send(&Event{Data: []byte("x")})
			<-r.Context().Done()
			close(gone)
		})})
		for event, err := range Events(t.Context(), "http://test/", exactly(client)) {
			if err != nil || string(event.Data) != "x" {
				t.Fatal(event, err)
			}
			break
		}
		<-gone
	})
}

// The hook hears of each end and each wait, and has the last word.
func TestEventsReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(
			stream("data: a\n\n"),
			status(http.StatusBadGateway, "600"), // not temporary by itself, and so is its Retry-After
			status(http.StatusServiceUnavailable, "20"),
			stream("data: b\n\n"),
			stream("data: never asked for\n\n"),
		)
		_, client := serve(t, &http.Server{Handler: s})
		opts := exactly(client)
		var heard []string
		opts.Reconnect = func(cause error, wait time.Duration) bool {
			heard = append(heard, fmt.Sprint(cause, " ", wait))
			return len(heard) < 4
		}
		got, err := collect(t.Context(), "http://test/", opts)
		if want := []string{"message||a", "message||b"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
		if want := []string{
			"EOF 3s",
			"sse: answer has status 502 Bad Gateway 6s",
			"sse: answer has status 503 Service Unavailable 20s",
			"EOF 3s",
		}; !slices.Equal(heard, want) {
			t.Errorf("heard %q, want %q", heard, want)
		}
		if len(s.visits()) != 4 {
			t.Errorf("%d requests", len(s.visits()))
		}
	})
}

// Prepare is asked for each request; the standard's headers are there before.
func TestEventsPrepare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tokens []string
		check := func(next http.HandlerFunc) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				tokens = append(tokens, r.Header.Get("Authorization"))
				if r.Method != http.MethodGet || r.Header.Get("Accept") != "text/event-stream" || r.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s with %v", r.Method, r.Header)
				}
				next(w, r)
			}
		}
		s := newScript(check(stream("data: a\n\n")), check(stream("data: b\n\n")))
		_, client := serve(t, &http.Server{Handler: s})
		opts := exactly(client)
		expired := errors.New("no more tokens")
		issued := 0
		opts.Prepare = func(r *http.Request) error {
			if issued++; issued > 2 {
				return expired
			}
			r.Header.Set("Authorization", fmt.Sprint("Bearer ", issued))
			return nil
		}
		got, err := collect(t.Context(), "http://test/", opts)
		if want := []string{"message||a", "message||b"}; !errors.Is(err, expired) || !slices.Equal(got, want) {
			t.Errorf("got %q, %v", got, err)
		}
		if want := []string{"Bearer 1", "Bearer 2"}; !slices.Equal(tokens, want) {
			t.Errorf("tokens %q, want %q", tokens, want)
		}
	})
}

// A POST is never sent twice without the caller.
func TestEventsPost(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"end": stream("data: a\n\n"),
		"cut": func(w http.ResponseWriter, r *http.Request) {
			stream("data: a\n\n")(w, r)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"503": status(http.StatusServiceUnavailable, "1"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScript(func(w http.ResponseWriter, r *http.Request) {
					if body, err := io.ReadAll(r.Body); err != nil || r.Method != http.MethodPost || string(body) != "question" {
						t.Errorf("%s with %q, %v", r.Method, body, err)
					}
					answer(w, r)
				})
				_, client := serve(t, &http.Server{Handler: s})
				opts := exactly(client)
				opts.Prepare = func(r *http.Request) error {
					r.Method = http.MethodPost
					r.Body = io.NopCloser(strings.NewReader("question"))
					return nil
				}
				opts.Reconnect = func(error, time.Duration) bool { return true }
				got, err := collect(t.Context(), "http://test/", opts)
				if (err != nil) != (name != "end") || (got != nil) != (name != "503") {
					t.Errorf("got %q, %v", got, err)
				}
				if name == "cut" && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("cut off: %v", err)
				}
				if len(s.visits()) != 1 {
					t.Errorf("%d requests", len(s.visits()))
				}
			})
		})
	}
}

// By default the wait is lengthened by up to half of it, and not always alike.
func TestEventsJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := &ClientOptions{HTTP: &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			return nil, errors.New("no route")
		})}, MaxBackoff: -1}
		var waits []time.Duration
		opts.Reconnect = func(_ error, wait time.Duration) bool {
			waits = append(waits, wait)
			return len(waits) < 100
		}
		start := time.Now()
		if _, err := collect(t.Context(), "http://test/", opts); err == nil {
			t.Error("no error")
		}
		var sum time.Duration
		for _, wait := range waits[:99] {
			sum += wait
		}
		if time.Since(start) != sum {
			t.Errorf("waited %v, announced %v", time.Since(start), sum)
		}
		low, high := slices.Min(waits), slices.Max(waits)
		if low < 3*time.Second || high >= 4500*time.Millisecond || high-low < 500*time.Millisecond {
			t.Errorf("100 waits from %v to %v", low, high)
		}
	})
}

// An event that is too big would be so again: no loop.
func TestEventsTooBig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(stream("data: ok\n\ndata: " + strings.Repeat("x", 1000) + "\n\n"))
		_, client := serve(t, &http.Server{Handler: s})
		opts := exactly(client)
		opts.MaxEventBytes = 999
		got, err := collect(t.Context(), "http://test/", opts)
		if e, ok := errors.AsType[*TooBigError](err); !ok || e.Limit != 999 || !slices.Equal(got, []string{"message||ok"}) || len(s.visits()) != 1 {
			t.Errorf("got %q, %v and %d requests", got, err, len(s.visits()))
		}
	})
}

// What cannot succeed at any time is told at once.
func TestEventsBadRequest(t *testing.T) {
	for _, url := range []string{"", "/topic", "ftp://test/", "http://", "http://te st/", "://"} {
		if got, err := collect(t.Context(), url, nil); err == nil || got != nil {
			t.Errorf("%q: got %q, %v", url, got, err)
		}
	}
	for _, id := range []string{"a\nb", "\x01", "\x7f"} {
		if got, err := collect(t.Context(), "http://test.invalid/", &ClientOptions{LastEventID: id}); err == nil || got != nil {
			t.Errorf("%q: got %q, %v", id, got, err)
		}
	}
}

// Ids may hold any UTF-8 text (§9.2.4).
func TestEventsIDIsUTF8(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(stream("id: …é\t漢\ndata: x\n\n"))
		_, client := serve(t, &http.Server{Handler: s})
		if _, err := collect(t.Context(), "http://test/", exactly(client)); err != nil {
			t.Fatal(err)
		}
		if got, want := s.visits()[1].lastEventID, "…é\t漢"; got != want {
			t.Errorf("Last-Event-ID %q, want %q", got, want)
		}
	})
}

// A connection that is cut 100 times, anywhere, loses nothing and doubles
// nothing.
func TestEventsSurvivesCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const last, cuts = 5000, 100
		n, client := serve(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			after, _ := strconv.Atoi(LastEventID(r))
			if after == last {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			sw, err := NewWriter(w, r, nil)
			if err != nil {
				return // cut within the header
			}
			for i := after + 1; i <= last; i++ {
				if sw.Send(&Event{ID: strconv.Itoa(i), Data: []byte("event\n" + strconv.Itoa(i))}) != nil {
					return
				}
			}
		})})
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		n.Route = func(number int) testnet.Path {
			if number > cuts {
				return nil
			}
			return testnet.CutAfter(random.Int64N(1500))
		}
		opts := exactly(client)
		opts.Retry = time.Millisecond
		next := 1
		for event, err := range Events(t.Context(), "http://test/", opts) {
			if err != nil {
				t.Fatal(err)
			}
			if want := strconv.Itoa(next); event.ID != want || string(event.Data) != "event\n"+want {
				t.Fatalf("got %s %q, want %s", event.ID, event.Data, want)
			}
			next++
		}
		if next != last+1 || n.Dialled() <= cuts {
			t.Errorf("%d events over %d connections", next-1, n.Dialled())
		}
	})
}
