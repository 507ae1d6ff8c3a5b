package wstalk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/duplexhq/duplex/websocket"
)

// A dialler makes sessions, one after the other.
type dialler struct {
	target string
	opts   websocket.DialOptions
	first  []string // messages to send at the beginning of each
	log    *transcript
}

// messagesAhead is how many messages may wait for a script that does
// something else. While there is room, pings and closes are answered.
const messagesAhead = 256

// defaultPatience is for Options.Dial without a CloseTimeout.
const defaultPatience = 5 * time.Second

// A session is one connection. What comes over it is logged, and waits in
// incoming.
type session struct {
	conn     *websocket.Conn
	log      *transcript
	patience time.Duration // for the peer's answer to a close
	incoming chan message  // closed when nothing will come any more
	err      error         // why; to be read when incoming is closed

	leave   sync.Once
	leaving chan struct{} // closed when this side has begun to close
	stop    context.CancelFunc
	running sync.WaitGroup
}

// A message came.
type message struct {
	kind websocket.MessageType
	data []byte
}

// connect begins a session. It has to be ended.
func (d *dialler) connect(ctx context.Context) (*session, error) {
	conn, response, err := websocket.Dial(ctx, d.target, &d.opts)
	if response != nil {
		d.log.answered(response)
	}
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("no connection in %v: %w", d.opts.Timeout, err)
		}
		return nil, err
	}
	d.log.opened(conn.Subprotocol())
	s := &session{
		conn:     conn,
		log:      d.log,
		patience: cmp.Or(d.opts.CloseTimeout, defaultPatience),
		incoming: make(chan message, messagesAhead),
		leaving:  make(chan struct{}),
	}
	// Not the caller's: a read that is interrupted within a message would cost
	// the connection, and there would be nobody to say goodbye to.
	var reading context.Context
	reading, s.stop = context.WithCancel(context.Background())
	// Ends with the connection or with reading. Joined by end.
	s.running.Go(func() { s.receive(reading) })
	for _, text := range d.first {
		if err := s.send(ctx, websocket.Text, []byte(text)); err != nil {
			s.end()
			return nil, err
		}
	}
	return s, nil
}

// play connects, and lets f do all there is to do.
func (d *dialler) play(ctx context.Context, f func(context.Context, *session) error) error {
	s, err := d.connect(ctx)
	if err != nil {
		return err
	}
	defer s.end()
	return f(ctx, s)
}

func (s *session) receive(ctx context.Context) {
	defer close(s.incoming)
	for {
		kind, data, err := s.conn.Read(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.log.lost(err)
			}
			s.err = err
			return
		}
		s.log.message(false, kind, data)
		m := message{kind, data}
		select {
		case s.incoming <- m:
			continue
		default:
		}
		select {
		case s.incoming <- m:
		case <-s.leaving: // what else comes is of use to the log only
		}
	}
}

// send logs a message before it goes, so that its answer comes after it.
func (s *session) send(ctx context.Context, kind websocket.MessageType, data []byte) error {
	if kind == websocket.Text && !utf8.Valid(data) {
		return websocket.ErrText
	}
	s.log.message(true, kind, data)
	return s.conn.Write(ctx, kind, data)
}

// next waits for a message. The error is that of the context, or why there
// will be no more.
func (s *session) next(ctx context.Context) (message, error) {
	select {
	case m, ok := <-s.incoming:
		if !ok {
			return message{}, s.err
		}
		return m, nil
	case <-ctx.Done():
		return message{}, context.Cause(ctx)
	}
}

// within is next with a time limit, after which the error is errNothingCame.
func (s *session) within(ctx context.Context, limit time.Duration) (message, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errNothingCame)
	defer cancel()
	return s.next(ctx)
}

var errNothingCame = errors.New("nothing came in time")

// ping sends a ping, and waits for its pong.
func (s *session) ping(ctx context.Context, limit time.Duration) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	latency, err := s.conn.Ping(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no pong in %v", limit)
	}
	return latency, err
}

// close says goodbye and waits for the peer's. What comes before it is received
// as ever. The error is nil if the peer has answered.
func (s *session) close(code websocket.CloseCode, reason string) error {
	s.leave.Do(func() { close(s.leaving) })
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	if s.conn.CloseWrite(ctx, code, reason) == nil {
		select {
		case <-s.conn.Done():
		case <-ctx.Done():
			s.stop()
			s.conn.CloseNow()
			if s.log.peerClose() == nil {
				return fmt.Errorf("no answer to the close in %v: %w", s.patience, context.DeadlineExceeded)
			}
			return nil // it only has not ended the connection below
		}
	}
	return s.conn.Close(code, reason) // which says how it ended
}

// end says goodbye, if there is still somebody, and waits for all that runs.
func (s *session) end() {
	_ = s.close(websocket.CloseNormal, "") // who does not answer is told nothing more
	s.stop()
	s.running.Wait()
}
