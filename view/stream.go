package view

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/duplexhq/duplex/sse"
	"github.com/duplexhq/duplex/topic"
)

// sse answers with an event stream (PROTOCOL.md §5.9).
func (h *Handler) sse(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	form := formEventStream
	if rd.envelope {
		form = formEnveloped
	}
	// Another time for each client, so that not all come back at once.
	retry := sse.AppendRetry(nil, h.opts.Retry+rand.N(h.opts.Retry))
	return h.follow(w, r, rd, follower{
		media:    "text/event-stream",
		form:     form,
		opening:  retry[:len(retry)-1], // without the empty line: the first signal is in the same block
		farewell: retry,
	})
}

// stream answers with one JSON event per line (PROTOCOL.md §5.10).
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	return h.follow(w, r, rd, follower{media: "application/x-ndjson", form: formLines})
}

// A follower is an answer that never ends by itself.
type follower struct {
	media    string
	form     topic.Form
	opening  []byte // with the header
	farewell []byte // when the server stops
}

func (h *Handler) follow(w http.ResponseWriter, r *http.Request, rd *reading, f follower) *Problem {
	start, err := h.start(r.Context(), rd.patterns, rd.lastEventID, rd.after)
	if err != nil {
		return h.problem(r, err)
	}
	if h.atEnd(rd, start.Cursor) {
		w.WriteHeader(http.StatusNoContent) // the only thing that stops an EventSource
		return nil
	}
	header := w.Header()
	header.Set("Content-Type", f.media)
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no")
	out := responseStream{w: w, rc: http.NewResponseController(w), timeout: h.opts.WriteTimeout}
	if out.write(f.opening) != nil { // sends the header, too
		return nil // the client is gone
	}

	sink := newHandoff()
	sub := h.hub.Subscribe(sink, topic.Options{Form: f.form, Signals: true, EndWithTopic: rd.oneTopic()}, rd.selection(start))
	defer sub.Close()
	for {
		select {
		case <-sink.filled:
			if out.write(sink.batch.Chunks...) != nil {
				return nil
			}
			if end := sink.batch.End; end != nil {
				h.problem(r, end) // logs a fault of ours: the header has been sent
				return nil
			}
			sink.release()
			sub.Writable()
		case <-h.draining:
			_ = out.write(f.farewell) // best effort: the stream ends anyway
			return nil
		case <-r.Context().Done():
			return nil
		}
	}
}

// responseStream writes an answer piece by piece. Each has a time limit of its
// own: only who takes nothing is cut, not who is slow (PROTOCOL.md §5.17).
type responseStream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
}

// A piece is what a client must take within the time limit.
type piece [16 << 10]byte

// pieces are lent while the chunks of a batch become few writes.
var pieces = sync.Pool{New: func() any { return new(piece) }}

// write sends the chunks. Without any, it sends the header.
func (s *responseStream) write(chunks ...[]byte) error {
	if len(chunks) == 1 && len(chunks[0]) <= len(piece{}) {
		return s.send(chunks[0])
	}
	buf := pieces.Get().(*piece)
	defer pieces.Put(buf)
	n := 0
	for _, c := range chunks {
		for len(c) > 0 {
			taken := copy(buf[n:], c)
			c, n = c[taken:], n+taken
			if n < len(buf) {
				continue
			}
			if err := s.send(buf[:]); err != nil {
				return err
			}
			n = 0
		}
	}
	return s.send(buf[:n])
}

func (s *responseStream) send(p []byte) error {
	// net/http lifts it, once it has sent the end of the answer.
	if err := s.rc.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
		return err
	}
	if _, err := s.w.Write(p); err != nil {
		return err
	}
	return s.rc.Flush()
}
