package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/duplexhq/duplex/websocket"
)

// A dialler makes sessions, one after the other.
type dialler struct {
	target string
	opts   *websocket.DialOptions
	first  []string // messages to send at the beginning of each
	log    *transcript
}

// messagesAhead is how many messages may wait for a script that does
// something else. While there is room, pings and closes are answered.
const messagesAhead = 256

// A session is one connection. What comes over it is logged, and waits in
// incoming.
type session struct {
	conn     *websocket.Conn
	log      *transcript
	incoming chan message
	over     error // what the last message said; of the goroutine that calls next

	stop    context.CancelFunc
	running sync.WaitGroup
}

// A message came, or none will come any more.
type message struct {
	kind websocket.MessageType
	data []byte
	err  error
}

// connect begins a session. It has to be ended.
func (d *dialler) connect(ctx context.Context) (*session, error) {
	conn, response, err := websocket.Dial(ctx, d.target, d.opts)
	if response != nil {
		d.log.answered(response)
	}
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no connection in %v: %w", d.opts.Timeout, err)
		}
		return nil, err
	}
	d.log.opened(conn.Subprotocol())
	s := &session{conn: conn, log: d.log, incoming: make(chan message, messagesAhead)}
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
	for {
		var m message
		m.kind, m.data, m.err = s.conn.Read(ctx)
		if m.err == nil {
			s.log.message(false, m.kind, m.data)
		} else if ctx.Err() == nil {
			s.log.lost(m.err)
		}
		select {
		case s.incoming <- m:
		case <-ctx.Done():
			return
		}
		if m.err != nil {
			return
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
	if s.over != nil {
		return message{}, s.over
	}
	select {
	case m := <-s.incoming:
		s.over = m.err
		return m, m.err
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

// end says goodbye, if there is still somebody, and waits for all that runs.
func (s *session) end() {
	_ = s.conn.Close(websocket.CloseNormal, "") // who does not answer is told nothing more
	s.stop()
	s.running.Wait()
}
