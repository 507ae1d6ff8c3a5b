package view

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/duplexhq/duplex/sse"
	"github.com/duplexhq/duplex/topic"
)

// A follower is a kind of answer that never ends by itself.
type follower struct {
	media   string
	form    topic.Form
	retries bool          // it says after which time to come back
	opening func() []byte // what comes before the first signal; nil: only that
}

// sse answers with an event stream (PROTOCOL.md §5.9).
func (h *Handler) sse(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	f := follower{media: "text/event-stream", form: formEventStream, retries: true}
	if rd.envelope {
		f.form = formEnveloped
	}
	return h.follow(w, r, rd, f)
}

// stream answers with one JSON event per line (PROTOCOL.md §5.10).
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	return h.follow(w, r, rd, follower{media: "application/x-ndjson", form: formLines})
}

// retry is what a stream says of coming back, at its end. Each client is given
// another time, so that not all come back at once.
func (h *Handler) retry(f follower) []byte {
	if !f.retries {
		return nil
	}
	return sse.AppendRetry(nil, h.opts.Retry+rand.N(h.opts.Retry))
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
	visit, problem := h.visit(rd)
	if problem != nil {
		return problem
	}
	defer func() { visit.End() }()
	header := w.Header()
	header.Set("Content-Type", f.media)
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no")
	opening := bytes.TrimSuffix(h.retry(f), []byte("\n"))
	if f.opening != nil {
		opening = f.opening()
	}
	out := responseStream{w: w, rc: http.NewResponseController(w), timeout: h.opts.WriteTimeout, lifted: r.ProtoMajor == 2}
	// Without its empty line, retry is in one block with the first signal. The
	// header is sent with it, in any case.
	if out.write(opening) != nil {
		return nil // the client is gone
	}
	opts := topic.SubscribeOptions{Form: f.form, Signals: true, EndWithTopic: rd.oneTopic(), Join: true}
	if h.followPolled(w, r, f, opts, rd.selection(start), visit) || h.followShared(w, r, f, opts, rd.selection(start), visit) {
		visit = nil // who follows ends it
		return nil
	}
	sink := newHandoff()
	sub := h.hub.Subscribe(sink, opts, rd.selection(start))
	defer sub.Close()
	pulse := h.pulse(w, r)
	defer pulse.stop()
	for {
		select {
		case <-sink.filled:
		case <-pulse.due():
			if pulse.gone() {
				panic(http.ErrAbortHandler) // has net/http cut the connection
			}
			continue
		case <-r.Context().Done():
			return nil
		}
		if out.write(sink.batch.Chunks...) != nil {
			return nil
		}
		if end := sink.batch.End; end != nil {
			if h.logEnd(end); errors.Is(end, topic.ErrClosed) {
				_ = out.write(h.retry(f)) // best effort: the stream ends anyway
			}
			return nil
		}
		sink.release()
		sub.Writable()
	}
}

// responseStream writes an answer piece by piece. Each has a time limit of its
// own: only who takes nothing is cut, not who is slow (PROTOCOL.md §5.17).
type responseStream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	lifted  bool // the time limit, after each write: net/http resets a stream of HTTP/2 when it is over, also one that waits
}

// write sends the chunks. Without any, it sends the header.
func (s *responseStream) write(chunks ...[]byte) error { return pieceWriter{s.send}.write(chunks...) }

func (s *responseStream) send(p []byte) error {
	// net/http lifts it, once it has sent the end of the answer.
	if err := s.rc.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
		return err
	}
	if _, err := s.w.Write(p); err != nil {
		return err
	}
	if err := s.rc.Flush(); err != nil || !s.lifted {
		return err
	}
	return s.rc.SetWriteDeadline(time.Time{})
}
