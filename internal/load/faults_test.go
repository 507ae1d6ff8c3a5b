//go:build linux

package load_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/load"
)

// faultyHub is a hub of event streams. What it sends for the n-th message is
// what blocks gives.
func faultyHub(t *testing.T, blocks func(n int, data string) string) string {
	t.Helper()
	var mu sync.Mutex
	var readers []chan string
	count := 0
	mux := http.NewServeMux()
	mux.HandleFunc("GET /fanout", func(w http.ResponseWriter, r *http.Request) {
		queue := make(chan string, 1000)
		mu.Lock()
		readers = append(readers, queue)
		mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		flusher := http.NewResponseController(w)
		for flusher.Flush() == nil {
			select {
			case <-r.Context().Done():
				return
			case text := <-queue:
				if _, err := io.WriteString(w, text); err != nil {
					return
				}
			}
		}
	})
	mux.HandleFunc("POST /fanout", func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		text := blocks(count, string(data))
		count++
		for _, queue := range readers {
			queue <- text
		}
		w.WriteHeader(http.StatusCreated)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// What a server does wrong is counted for each subscriber.
func TestTopicFaultsAreCounted(t *testing.T) {
	const gap = "event: $gap\nid: 7\ndata: {}\n\n"
	held := ""
	for _, test := range []struct {
		name                          string
		fault                         func(n int, block string) string
		lost, duplicates, wrong, told uint64 // for each of two subscribers
	}{
		{"none", func(_ int, block string) string { return block }, 0, 0, 0, 0},
		{"lost", func(n int, block string) string {
			if n == 3 || n == 4 {
				return ""
			}
			return block
		}, 2, 0, 0, 0},
		{"told", func(n int, block string) string {
			switch n {
			case 3, 4:
				return ""
			case 5:
				return gap + block
			}
			return block
		}, 0, 0, 0, 2},
		{"told, and then not", func(n int, block string) string {
			switch n {
			case 3, 7:
				return ""
			case 4:
				return gap + block
			}
			return block
		}, 1, 0, 0, 1},
		{"doubled", func(n int, block string) string {
			if n == 6 {
				return block + block
			}
			return block
		}, 0, 1, 0, 0},
		{"out of order", func(n int, block string) string {
			switch n {
			case 3:
				held = block
				return ""
			case 4:
				return block + held
			}
			return block
		}, 1, 1, 0, 0},
		{"changed", func(n int, block string) string {
			if n == 2 {
				return "data: 0000000000000002changed\n\n"
			}
			return block
		}, 1, 0, 1, 0},
		{"made up", func(n int, block string) string {
			if n == 2 {
				return block + "data: 00000000000fffffabcdefghijklmnop\n\n"
			}
			return block
		}, 0, 0, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			address := faultyHub(t, func(n int, data string) string { return test.fault(n, fmt.Sprintf("data: %s\n\n", data)) })
			r, err := load.Topic(t.Context(), load.TopicOptions{
				Options: briefly(address), Dialect: load.Hub, Transports: []load.Transport{load.SSE}, Subscribers: 2, Bytes: 32, Window: 4,
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.Lost != 2*test.lost || r.Duplicates != 2*test.duplicates || r.Wrong != 2*test.wrong || r.Told != 2*test.told {
				t.Errorf("%d lost, %d doubled, %d wrong, %d told", r.Lost, r.Duplicates, r.Wrong, r.Told)
			}
		})
	}
}

// What never arrives is lost when the time for it is over.
func TestTopicSilence(t *testing.T) {
	address := faultyHub(t, func(int, string) string { return "" })
	options := briefly(address)
	options.DrainTimeout = 10 * time.Millisecond
	// A busy machine may not have time for both messages of the window at first.
	for options.Duration = 50 * time.Millisecond; ; options.Duration *= 2 {
		r, err := load.Topic(t.Context(), load.TopicOptions{
			Options: options, Dialect: load.Hub, Transports: []load.Transport{load.SSE}, Subscribers: 3, Bytes: 32, Window: 2,
		})
		if err == nil && r.Lost == 6 {
			break
		}
		if err != nil || r.Lost > 6 || options.Duration > longest {
			t.Fatalf("%d lost, %v; want 6", r.Lost, err)
		}
	}
}
