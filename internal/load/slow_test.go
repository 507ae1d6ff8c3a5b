//go:build linux

package load_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/load"
)

// history is what a hub has got.
type history struct {
	mu    sync.Mutex
	grown sync.Cond
	items []string
}

// after waits until there is more than n, and gives the next one.
func (h *history) after(ctx context.Context, n int) (string, bool) {
	stop := context.AfterFunc(ctx, h.grown.Broadcast)
	defer stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.items) <= n {
		if ctx.Err() != nil {
			return "", false
		}
		h.grown.Wait()
	}
	return h.items[n], true
}

// cuttingHub has streams of JSON that go on for ever, and event streams, of
// which it ends the first one after some events. The next go on after the id
// that they name, if there are ids.
func cuttingHub(t *testing.T, cutAfter int, ids bool) (address string, dialect *load.Dialect) {
	t.Helper()
	h := &history{}
	h.grown.L = &h.mu
	var first sync.Once
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		h.mu.Lock()
		h.items = append(h.items, string(data))
		h.mu.Unlock()
		h.grown.Broadcast()
		w.WriteHeader(http.StatusCreated)
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.Header.Get("Last-Event-ID")) // absent: 0
		last := -1
		events := r.Header.Get("Accept") == "text/event-stream"
		if events {
			first.Do(func() { last = cutAfter })
		}
		flusher := http.NewResponseController(w)
		for ; n != last && flusher.Flush() == nil; n++ {
			item, ok := h.after(r.Context(), n)
			if !ok {
				return
			}
			switch {
			case !events:
				fmt.Fprintf(w, `{"data":"%s"}`+"\n", item)
			case ids:
				fmt.Fprintf(w, "id: %d\ndata: %s\n\n", n+1, item)
			default:
				fmt.Fprintf(w, "data: %s\n\n", item)
			}
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), &load.Dialect{
		Subscribe: func(via load.Transport, _ []string, after string) (load.Subscription, error) {
			if via == load.Stream {
				return load.Subscription{Path: "/", Header: "Accept: application/x-ndjson\r\n", JSON: true}, nil
			}
			s := load.Subscription{Path: "/", Header: "Accept: text/event-stream\r\n"}
			if after != "" {
				s.Header += "Last-Event-ID: " + after + "\r\n"
			}
			return s, nil
		},
		Publish: func(load.Publishing, string) (load.Publication, error) {
			return load.Publication{Path: "/"}, nil
		},
	}
}

// A slow reader whose connection the server has closed comes back and gets the
// rest; if it cannot say where it was, it is abandoned, and not counted as
// losses.
func TestStallCut(t *testing.T) {
	for _, ids := range []bool{true, false} {
		address, dialect := cuttingHub(t, 5, ids)
		options := briefly(address)
		options.Warmup = -1
		r, err := load.Stall(t.Context(), load.StallOptions{
			TopicOptions: load.TopicOptions{
				Options: options, Dialect: dialect, Transports: []load.Transport{load.Stream, load.SSE}, Subscribers: 2, Bytes: 32, Rate: 200,
			},
			Before:  50 * time.Millisecond,
			Stalled: 50 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		abandoned := 0
		if !ids {
			abandoned = 1
		}
		if s := r.Slow; r.Faults() != "" || s.Cut != 1 || s.Abandoned != abandoned || (s.Missing > 0) == ids || r.Published < 6 {
			t.Errorf("ids %t: %q, %d published, %+v", ids, r.Faults(), r.Published, *s)
		}
	}
}
