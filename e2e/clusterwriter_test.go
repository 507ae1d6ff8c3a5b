//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A clusterEvent names an event by its publisher and its place there.
type clusterEvent uint64

func newClusterEvent(writer, n int) clusterEvent { return clusterEvent(writer)<<32 | clusterEvent(n) }
func (e clusterEvent) split() (writer, n int)    { return int(e >> 32), int(uint32(e)) }

// padding makes an event as long as many are.
var padding = strings.Repeat(".", 110)

func (e clusterEvent) data() string {
	w, n := e.split()
	return fmt.Sprintf("%d %d %s", w, n, padding)
}

func parseClusterEvent(data string) (clusterEvent, error) {
	fields := strings.Split(data, " ")
	if len(fields) == 3 && fields[2] == padding {
		w, err := strconv.ParseUint(fields[0], 10, 32)
		n, err2 := strconv.ParseUint(fields[1], 10, 32)
		if err == nil && err2 == nil {
			return newClusterEvent(int(w), int(n)), nil
		}
	}
	return 0, fmt.Errorf("data %q", data)
}

// A clusterWriter publishes one event after the other, each until it is
// acknowledged, with each attempt to another node.
type clusterWriter struct {
	x      *clusterTest
	number int
	every  time.Duration

	mu    sync.Mutex      // guards what follows
	begun []time.Duration // of each event, its first attempt
	seqs  []uint64        // of those that are acknowledged
}

func newClusterWriter(x *clusterTest, number int, every time.Duration) *clusterWriter {
	return &clusterWriter{x: x, number: number, every: every}
}

// topic is where an event goes.
func (w *clusterWriter) topic(n int) int { return (w.number*7 + n) % clusterTopics }

// seq is the sequence number that was told, or 0.
func (w *clusterWriter) seq(n int) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n < len(w.seqs) {
		return w.seqs[n]
	}
	return 0
}

func (w *clusterWriter) acknowledged() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seqs)
}

func (w *clusterWriter) first(n int) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begun[n]
}

func (w *clusterWriter) run() {
	next := time.Now().Add(time.Duration(w.number) * w.every / time.Duration(len(w.x.writers)))
	node := w.number
	for n := 0; ; n++ {
		select {
		case <-time.After(time.Until(next)):
		case <-w.x.stop:
			return
		}
		if next = next.Add(w.every); time.Since(next) > time.Second {
			next = time.Now() // what was not published in a pause is not made up for
		}
		begun := w.x.since()
		w.mu.Lock()
		w.begun = append(w.begun, begun)
		w.mu.Unlock()
		for {
			node++
			seq, err := w.publish(w.x.bases[node%len(w.x.bases)], n)
			if wrong, ok := err.(*wrongError); ok {
				w.x.Errorf("publisher %d: %v", w.number, wrong)
				return
			}
			if err == nil {
				w.mu.Lock()
				w.seqs = append(w.seqs, seq)
				w.mu.Unlock()
				break
			}
			w.x.now.Load().refused.Add(1)
			select {
			case <-w.x.stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
		p, now := w.x.now.Load(), w.x.since()
		longest(&p.publishing, now-begun)
		p.published.Add(int64(now - begun))
		p.publishedN.Add(1)
		longest(&p.silence, now-time.Duration(w.x.lastAck.Swap(int64(now))))
		w.x.acknowledged.Add(1)
	}
}

// publishPatience is how long a publisher waits for one node.
const publishPatience = 5 * time.Second

// publish tries it once. Any error but a *wrongError may pass.
func (w *clusterWriter) publish(base string, n int) (seq uint64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), publishPatience)
	defer cancel()
	event := newClusterEvent(w.number, n)
	request, err := http.NewRequestWithContext(ctx, "POST", topicURL(base, clusterTopic(w.topic(n))), strings.NewReader(event.data()))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "text/plain")
	request.Header.Set("Idempotency-Key", fmt.Sprint(uint64(event)))
	response, err := w.x.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return 0, err
	case response.StatusCode == http.StatusServiceUnavailable, response.StatusCode == http.StatusConflict:
		if response.Header.Get("Retry-After") == "" {
			return 0, wrong("%s without Retry-After: %s", response.Status, body)
		}
		return 0, fmt.Errorf("%s", body)
	case response.StatusCode != http.StatusCreated:
		return 0, wrong("%s: %s", response.Status, body)
	}
	var answer struct{ ID string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, wrong("%v in %s", err, body)
	}
	return w.x.sequence(answer.ID)
}

// sequence is the number in an id.
func (x *clusterTest) sequence(id string) (uint64, error) {
	epoch, number, _ := strings.Cut(id, "-")
	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil || epoch != x.epoch {
		return 0, wrong("id %q is not of epoch %s: %v", id, x.epoch, err)
	}
	return seq, nil
}

// A wrongError is what must not happen, whatever fails.
type wrongError struct{ text string }

func wrong(format string, args ...any) error { return &wrongError{fmt.Sprintf(format, args...)} }

func (e *wrongError) Error() string { return e.text }
