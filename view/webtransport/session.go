package webtransport

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/duplexhq/duplex/view"
)

// closeSession is the type of the capsule by which a session is closed: a code of
// 32 bits and a reason.
const closeSession = 0x2843

// closeTimeout is how long a client is given to hear of the end.
const closeTimeout = time.Second

// unknown is the id of a session that is being answered: the client may hear of
// it, and open its stream, before it is known here.
const unknown quic.StreamID = -1

var errOver = errors.New("webtransport: the session has ended")

// A session is one of WebTransport. Its request's stream has capsules, and lasts
// as long as it does.
type session struct {
	conn    *conn
	id      quic.StreamID // the request's, or unknown; guarded by conn.mu
	request *http3.Stream
	over    context.Context
	cancel  context.CancelFunc // of over
	offered chan *quic.Stream
	closing sync.Once

	mu     sync.Mutex
	taken  bool         // there was a stream; guarded by mu
	ended  bool         // guarded by mu
	stream *quic.Stream // guarded by mu
}

func newSession(c *conn) *session {
	s := &session{conn: c, id: unknown, offered: make(chan *quic.Stream, 1)}
	s.over, s.cancel = context.WithCancel(context.Background())
	return s
}

// open is for when the request was answered.
func (s *session) open(request *http3.Stream) {
	s.request = request
	s.conn.opened(s, request.StreamID())
	go s.listen() // Ends with the session, or its connection.
}

// offer takes the first stream that the client opens. The caller refuses the
// others.
func (s *session) offer(stream *quic.Stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken || s.ended {
		return false
	}
	s.taken, s.stream = true, stream
	s.offered <- stream
	return true
}

// listen waits for the client to end the session.
func (s *session) listen() {
	defer s.end()
	defer s.conn.guard()
	capsules := http3.NewCapsuleParser(s.request)
	for {
		kind, r, err := capsules.Next()
		if err != nil || kind == closeSession {
			return // what it says of why is nobody's business
		}
		if r.Discard() != nil {
			return
		}
	}
}

// end frees everything.
func (s *session) end() {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended = true
	if s.stream != nil {
		cancel(s.stream, sessionGone)
	}
	s.mu.Unlock()
	_ = s.request.Close() // it may be already
	s.request.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError))
	s.cancel()
	s.conn.mu.Lock()
	s.conn.session = nil
	s.conn.mu.Unlock()
}

func (s *session) Stream(ctx context.Context) (view.WebTransportStream, error) {
	select {
	case stream := <-s.offered:
		return stream, nil
	case <-s.over.Done():
		return nil, errOver
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *session) SendDatagram(p []byte) error { return s.request.SendDatagram(p) }

func (s *session) ReceiveDatagram() ([]byte, error) { return s.request.ReceiveDatagram(s.over) }

func (s *session) Close(code uint32, reason string) {
	s.closing.Do(func() {
		go func() { // Ends when the client has heard, at the latest after closeTimeout.
			defer s.end()
			defer s.conn.guard()
			if s.sayClose(code, reason) == nil {
				select {
				case <-s.over.Done():
				case <-time.After(closeTimeout):
				}
			}
		}()
	})
}

// sayClose sends WT_CLOSE_SESSION and FIN (draft-ietf-webtrans-http3-15 §6). The
// stream must not be reset with them: Chromium takes that for a lost connection,
// and drops the code.
func (s *session) sayClose(code uint32, reason string) error {
	if err := s.request.SetWriteDeadline(time.Now().Add(closeTimeout)); err != nil {
		return err
	}
	capsule := quicvarint.Append(nil, closeSession)
	capsule = quicvarint.Append(capsule, uint64(4+len(reason)))
	capsule = binary.BigEndian.AppendUint32(capsule, code)
	if _, err := s.request.Write(append(capsule, reason...)); err != nil {
		return err
	}
	return s.request.Close()
}
