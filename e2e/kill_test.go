//go:build e2e

package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var killRounds = flag.Int("kill.rounds", 4, "how often TestKilledServer kills the server")

// A server is killed in the middle of publishing, again and again. Whatever it
// has acknowledged is there afterwards, once and in order, and subscribers go
// on with their ids, whatever their transport.
func TestKilledServer(t *testing.T) {
	data := t.TempDir()
	s := serveAt(t, freeAddress(t), data)
	base := s.url
	transports := []string{"websocket", "sse", "stream", "longpoll", "poll"}
	var readers []*process
	for _, as := range transports {
		p := start(t, command(program, "sub", "--server", s.url, "--as", as, "--after", "earliest", "--json", "--quiet", "kill/*"))
		t.Cleanup(func() { p.signal(t, syscall.SIGTERM); p.exitCode(t) })
		readers = append(readers, p)
	}

	// Each event is published until it is acknowledged. The key makes that
	// harmless.
	var acknowledged atomic.Int64
	stop, published := make(chan struct{}), make(chan int)
	go func() { // ends when stop is closed
		n := 0
		for ; ; n++ {
			for {
				select {
				case <-stop:
					published <- n
					return
				default:
				}
				request, err := http.NewRequest("POST", topicURL(base, fmt.Sprint("kill/", n%3)), strings.NewReader(fmt.Sprint(n)))
				if err != nil {
					panic(err)
				}
				request.Header.Set("Content-Type", "text/plain")
				request.Header.Set("Idempotency-Key", fmt.Sprint("n", n))
				response, err := direct.Do(request)
				if err != nil {
					time.Sleep(time.Millisecond)
					continue
				}
				response.Body.Close()
				if response.StatusCode == http.StatusCreated {
					break
				}
			}
			acknowledged.Add(1)
		}
	}()

	for i, as := range transports { // who was never connected gives up
		until(t, as+" reads", func() bool { return len(readers[i].stdout.lines()) > 0 })
	}
	rng := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	for round := range *killRounds {
		before := acknowledged.Load()
		until(t, "some events", func() bool { return acknowledged.Load() >= before+100 })
		time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond) // at any moment
		s.kill(t)
		s = serveAt(t, s.addr, data)
		t.Logf("round %d: %d acknowledged", round, acknowledged.Load())
	}
	before := acknowledged.Load()
	until(t, "some events after the last kill", func() bool { return acknowledged.Load() >= before+100 })
	close(stop)
	total := <-published
	for i, as := range transports {
		var lines []string
		until(t, fmt.Sprint(total, " events by ", as), func() bool {
			lines = lines[:0]
			for _, line := range readers[i].stdout.lines() {
				if !strings.Contains(line, `"event":"$`) {
					lines = append(lines, line)
				}
			}
			return len(lines) >= total
		})
		for n, r := range recordsOf(t, lines) {
			if want := fmt.Sprint(n); r.data != want || n >= total {
				t.Fatalf("%s: event %d has %q", as, n, r.data)
			}
		}
	}
}
