package view

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/websocket"
)

// A WebTransport is a session that a client has opened (PROTOCOL.md §16). Its
// methods may be called at the same time.
type WebTransport interface {
	// Stream waits for the first bidirectional stream that the client opens.
	Stream(ctx context.Context) (WebTransportStream, error)
	// SendDatagram sends what need not arrive. It may wait for the network.
	SendDatagram(p []byte) error
	// ReceiveDatagram waits for a datagram. Its only error is the end of the
	// session.
	ReceiveDatagram() ([]byte, error)
	// Close ends the session and all that waits on it, and tells the peer why.
	// It returns at once. Only the first call counts.
	Close(code uint32, reason string)
}

// A WebTransportStream is read by one goroutine at a time, and written to by
// one. Close ends what is written; the rest is read.
type WebTransportStream interface {
	io.ReadWriteCloser
	SetWriteDeadline(time.Time) error
}

const (
	// openTimeout is how long a client may take to open its stream.
	openTimeout = 10 * time.Second

	// closeTimeout is how long a client may take to end its side when this one
	// has ended.
	closeTimeout = time.Second

	// maxAnswers is how many bytes of answers wait for a client before it is not
	// heard any more.
	maxAnswers = 64 << 10
)

// isWebTransport reports whether the request asks for a session: by extended
// CONNECT over HTTP/3, under the name that the drafts gave it up to 14, or the
// one since.
func isWebTransport(r *http.Request) bool {
	return r.ProtoMajor == 3 && r.Method == http.MethodConnect && (r.Proto == "webtransport" || r.Proto == "webtransport-h3")
}

// isSession reports whether the request asks for a connection in both
// directions.
func isSession(r *http.Request) bool { return isHandshake(r) || isWebTransport(r) }

// A webTransport is one session. Four goroutines serve it at most: the request's
// reads the stream, the others are joined by it.
type webTransport struct {
	session
	conn   WebTransport
	stream WebTransportStream
	ops    ops
	lossy  lossy
	heard  chan struct{} // closed when the stream is not read any more

	mu      sync.Mutex
	chunks  [][]byte // to be written; guarded by mu
	batch   bool     // one of the hub's is among them; guarded by mu
	answers int      // bytes of answers that are not written; guarded by mu
	end     *closing // to follow them; guarded by mu
	stopped bool     // nothing is written any more; guarded by mu
	filled  chan struct{}
	room    sync.Cond // there is for answers, or nothing is written any more
}

// webTransport serves a session until it has ended (PROTOCOL.md §16).
func (h *Handler) webTransport(w http.ResponseWriter, r *http.Request, rd *reading) *Problem {
	if h.opts.WebTransport == nil {
		return newProblem("bad-handshake", "WebTransport is not offered")
	}
	start, problem := h.sessionStart(r, rd)
	if problem != nil {
		return problem
	}
	visit, problem := h.enterSession(rd)
	if problem != nil {
		return problem
	}
	conn, err := h.opts.WebTransport(w, r)
	if err != nil {
		h.connections.leave()
		visit.End()
		return newProblem("bad-handshake", err.Error())
	}
	s := &webTransport{session: newSession(h, r, visit), conn: conn, heard: make(chan struct{}), filled: make(chan struct{}, 1)}
	s.ops.client, s.room.L = s, &s.mu
	s.lossy.session = s
	h.connections.add(s)
	defer s.over(s)
	s.serve(rd, start)
	return nil
}

func (s *webTransport) serve(rd *reading, start topic.Start) {
	defer s.survive() // nobody else would end the session
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	var err error
	if s.stream, err = s.conn.Stream(ctx); err != nil {
		s.close(closing{websocket.CloseProtocolError, "no-stream"})
		return
	}
	greeted := s.greeted
	s.sub = s.handler.hub.Subscribe(s, topic.SubscribeOptions{Form: formLines, Signals: true, Named: true}, s.ops.begin(rd, start)...)
	defer s.sub.Close()
	var parts sync.WaitGroup
	defer parts.Wait()
	defer s.lossy.stop()
	parts.Go(s.write)      // Ends when there is nothing more to write, or with the session. Joined here.
	parts.Go(s.lossy.hear) // Ends with the session. Joined here.
	defer s.survive()      // before what waits for the session's end
	<-greeted
	s.read()
}

// survive ends the session if what defers it panics.
func (s *webTransport) survive() {
	if v := recover(); v != nil {
		logPanic(s.handler.opts.Logger, v, debug.Stack())
		s.close(closing{websocket.CloseInternalError, "internal"})
	}
}

// read carries out what the client says, line by line, until its side ends.
func (s *webTransport) read() {
	err := s.readLines()
	close(s.heard)
	switch err {
	case io.EOF: // it gets its answers
		s.finish(closing{code: websocket.CloseNormal})
	case errTooLong:
		s.finish(closing{websocket.CloseTooBig, "too-big"})
	default:
		s.close(closing{code: websocket.CloseNormal}) // if it is not the session that has ended
	}
}

var errTooLong = errors.New("line too long")

func (s *webTransport) readLines() error {
	limit := int(2 * s.handler.opts.MaxEventBytes)
	r := bufio.NewReader(s.stream)
	var long []byte // the beginning of a line that is longer than the reader's buffer
	for {
		line, err := r.ReadSlice('\n')
		if len(long)+len(bytes.TrimSuffix(line, []byte("\n"))) > limit {
			return errTooLong
		}
		if err == bufio.ErrBufferFull {
			long = append(long, line...)
			continue
		}
		if err != nil {
			return err
		}
		if long != nil {
			line, long = append(long, line...), nil
		}
		if line = bytes.Trim(line, " \t\r\n"); len(line) > 0 {
			s.ops.take(line)
			s.wait()
		}
	}
}

// write writes what is left for it.
func (s *webTransport) write() {
	defer s.survive()
	out := pieceWriter{func(p []byte) error {
		if err := s.stream.SetWriteDeadline(time.Now().Add(s.handler.opts.WriteTimeout)); err != nil {
			return err
		}
		n, err := s.stream.Write(p)
		s.sent.Add(int64(n))
		return err
	}}
	defer s.stop()
	for range s.filled {
		s.mu.Lock()
		chunks, batch, answers, end, stopped := s.chunks, s.batch, s.answers, s.end, s.stopped
		s.chunks, s.batch = nil, false
		s.mu.Unlock()
		if stopped {
			return
		}
		if err := out.write(chunks...); err != nil {
			why := closing{code: websocket.CloseNormal} // the client wants no more
			if errors.Is(err, os.ErrDeadlineExceeded) {
				why = closing{closeTooSlow, "too-slow"}
			}
			s.close(why)
			return
		}
		s.mu.Lock()
		s.answers -= answers
		s.room.Broadcast()
		s.mu.Unlock()
		if batch {
			s.sub.Writable()
		}
		if end != nil {
			_ = s.stream.Close() // the session is closed below
			select {             // or what was written might not arrive
			case <-s.heard:
			case <-time.After(closeTimeout):
			}
			s.close(*end)
			return
		}
	}
}

// leave has something written; f changes what.
func (s *webTransport) leave(f func()) {
	s.change(f)
	select {
	case s.filled <- struct{}{}:
	default:
	}
}

func (s *webTransport) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock() // also if f panics: the session is yet to be closed
	f()
}

// Send is the hub's.
func (s *webTransport) Send(b topic.Batch) bool {
	var end *closing
	if b.End != nil {
		end = new(s.closingFor(b.End))
	}
	s.leave(func() {
		s.batch = true
		if s.end == nil {
			s.end = end
		}
		for _, line := range b.Chunks {
			if !s.lossy.takesLine(line) {
				s.chunks = append(s.chunks, line)
			}
		}
	})
	s.greet()
	return false
}

// Cut is the hub's.
func (s *webTransport) Cut(end error) { s.close(s.closingFor(end)) }

// cut ends the session at once.
func (s *webTransport) cut() { s.close(s.closingFor(topic.ErrClosed)) }

// finish closes the session when all is written.
func (s *webTransport) finish(end closing) {
	s.leave(func() {
		if s.end == nil {
			s.end = &end
		}
	})
}

// close ends the session, and with it everything that waits.
func (s *webTransport) close(end closing) {
	s.conn.Close(uint32(end.code), end.reason)
	s.stop()
}

// stop has nothing more written.
func (s *webTransport) stop() {
	s.leave(func() {
		s.stopped = true
		s.room.Broadcast()
	})
}

// frame is for ops, as are say, subscribed and unsubscribed.
func (*webTransport) frame(dst, message []byte) []byte { return append(append(dst, message...), '\n') }

func (s *webTransport) say(message []byte) {
	line := s.frame(nil, message)
	s.leave(func() {
		s.chunks = append(s.chunks, line)
		s.answers += len(line)
	})
}

func (s *webTransport) subscribed(name string, pattern topic.Pattern, datagrams bool) {
	s.lossy.add(interest{name, pattern, datagrams})
}

func (s *webTransport) unsubscribed(name string) { s.lossy.remove(name) }

// wait returns when there is room for answers, or nobody reads them any more.
func (s *webTransport) wait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.answers > maxAnswers && !s.stopped {
		s.room.Wait()
	}
}
