package view

import (
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
	return h.follow(w, r, rd, follower{
		media:    "text/event-stream",
		form:     form,
		opening:  sse.AppendRetry(nil, h.opts.Retry),
		farewell: sse.AppendRetry(nil, h.opts.Retry),
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
	opening  []byte // before anything else
	farewell []byte // when the server stops
}

func (h *Handler) follow(w http.ResponseWriter, r *http.Request, rd *reading, f follower) *Problem {
	start, problem := h.start(r.Context(), rd)
	if problem != nil {
		return problem
	}
	if h.atEnd(rd, start) {
		w.WriteHeader(http.StatusNoContent) // the only thing that stops an EventSource
		return nil
	}
	header := w.Header()
	header.Set("Content-Type", f.media)
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no")
	out := responseStream{w: w, rc: http.NewResponseController(w), timeout: h.opts.WriteTimeout}
	if err := out.write(f.opening); err != nil { // sends the header, too
		return nil // the client is gone
	}
	defer out.release()

	sink := newHandoff()
	sub := h.hub.Subscribe(sink, topic.Options{Form: f.form, Signals: true, EndWithTopic: rd.oneTopic()}, rd.selection(start))
	defer sub.Close()
	for {
		select {
		case <-sink.filled:
			if err := out.write(sink.batch.Chunks...); err != nil {
				return nil
			}
			if sink.batch.End != nil {
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

// responseStream writes an answer piece by piece, each within a time limit of
// its own.
type responseStream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
}

// joined lends buffers in which the chunks of a batch become one write.
var joined = sync.Pool{New: func() any { return new([]byte) }}

func (s *responseStream) write(chunks ...[]byte) error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(s.timeout)); err != nil {
		return err
	}
	if len(chunks) == 1 {
		if _, err := s.w.Write(chunks[0]); err != nil {
			return err
		}
		return s.rc.Flush()
	}
	buf := joined.Get().(*[]byte)
	defer joined.Put(buf)
	*buf = (*buf)[:0]
	for _, c := range chunks {
		if len(*buf) > 0 && len(*buf)+len(c) > maxJoined {
			if _, err := s.w.Write(*buf); err != nil {
				return err
			}
			*buf = (*buf)[:0]
		}
		if len(c) >= maxJoined {
			if _, err := s.w.Write(c); err != nil {
				return err
			}
			continue
		}
		*buf = append(*buf, c...)
	}
	if _, err := s.w.Write(*buf); err != nil {
		return err
	}
	return s.rc.Flush()
}

// maxJoined bounds the pooled buffers.
const maxJoined = 64 << 10

// release lifts the time limit, for the connection's next request.
func (s *responseStream) release() {
	_ = s.rc.SetWriteDeadline(time.Time{}) // fails only if the connection is gone
}
