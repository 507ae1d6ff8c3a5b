package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
)

// serveStreams is what net/http alone gives: event streams that are flushed
// after each message, and on /empty a handler that does nothing but answer.
func serveStreams(listener net.Listener, _ settings) error {
	var members membership[[]byte]
	page := bytes.Repeat([]byte("."), pageBytes)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /fanout", func(w http.ResponseWriter, r *http.Request) {
		queue := members.join()
		defer members.leave(queue)
		w.Header().Set("Content-Type", "text/event-stream")
		flusher := http.NewResponseController(w)
		if flusher.Flush() != nil {
			return
		}
		for {
			select {
			case <-r.Context().Done():
				return
			case block, open := <-queue:
				if !open {
					return
				}
				if _, err := w.Write(block); err != nil || flusher.Flush() != nil {
					return
				}
			}
		}
	})
	mux.HandleFunc("POST /fanout", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client is gone
		}
		members.send(fmt.Appendf(nil, "data: %s\n\n", text))
		w.WriteHeader(http.StatusCreated)
	})
	mux.HandleFunc("GET /empty", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(page) // the client may be gone
	})
	return http.Serve(listener, mux)
}

// pageBytes is about what a page with one event of 128 bytes has.
const pageBytes = 330
