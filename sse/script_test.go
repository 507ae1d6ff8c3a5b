package sse

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// exactly is the options for tests that count seconds.
func exactly(client *http.Client) *ClientOptions {
	return &ClientOptions{HTTP: client, Jitter: -1}
}

// visit is one request that a script has answered.
type visit struct {
	at          time.Duration
	lastEventID string
}

// script answers the n-th request by its n-th func, and those after by 204.
type script struct {
	start   time.Time
	answers []http.HandlerFunc

	mu   sync.Mutex
	made []visit
}

func newScript(answers ...http.HandlerFunc) *script {
	return &script{start: time.Now(), answers: answers}
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.made = append(s.made, visit{time.Since(s.start), LastEventID(r)})
	n := len(s.made)
	s.mu.Unlock()
	if n <= len(s.answers) {
		s.answers[n-1](w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// visits is what came so far.
func (s *script) visits() []visit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.made)
}

// stream answers with an event stream and ends it.
func stream(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, text)
	}
}

func status(code int, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", retryAfter)
		http.Error(w, "because", code)
	}
}

// collect runs the loop to its end.
func collect(ctx context.Context, url string, opts *ClientOptions) (events []string, err error) {
	for event, stepErr := range Events(ctx, url, opts) {
		if stepErr != nil {
			err = stepErr
			continue // a further step would be a fault, and overwrite it
		}
		if err != nil {
			events = append(events, "event after an error")
		}
		events = append(events, fmt.Sprintf("%s|%s|%s", event.Type, event.ID, event.Data))
	}
	return events, err
}
