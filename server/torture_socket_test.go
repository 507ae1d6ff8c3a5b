package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"

	"github.com/duplexhq/duplex/websocket/wire"
)

// A socket is a WebSocket client on a link.
type socket struct {
	*link
	machine wire.Machine
	buf     [4 << 10]byte
	rest    []byte // of buf: not read yet
	message []byte
	mute    bool   // pings are not answered
	ponged  string // payload of the last pong

	// What is sent has a goroutine of its own: who does not read must not stop
	// the peer from reading, and the other way round.
	random  *rand.Rand
	out     chan [][]byte // pieces of frames
	closing chan struct{}
	sending sync.WaitGroup
}

// A closed is what the server's close frame said.
type closed struct {
	code   wire.CloseCode
	reason string
}

func (c *closed) Error() string { return fmt.Sprintf("closed with %d %q", c.code, c.reason) }

// The key of a handshake, and what answers it (RFC 6455 §1.3).
const handshakeKey, handshakeAccept = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// compression is what a client may ask for.
var compression = wire.Deflate{ServerMaxWindowBits: wire.MaxWindowBits, ClientMaxWindowBits: wire.MaxWindowBits}

// handshake is the request for a WebSocket. fields are more of the header.
func handshake(rng *rand.Rand, target, fields string) []byte {
	if rng.IntN(2) == 0 {
		fields += "Sec-WebSocket-Extensions: " + compression.Offer().String() + "\r\n"
	}
	return []byte("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + handshakeKey + "\r\n" + fields + "\r\n")
}

// upgrade makes a WebSocket of a link on which a handshake was sent. The status
// is that of the answer, 0 if there was none.
func (l *link) upgrade() (s *socket, status int, err error) {
	resp, err := l.answer(http.MethodGet)
	if err != nil {
		return nil, 0, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, resp.StatusCode, nil
	}
	if got := resp.Header.Get("Sec-WebSocket-Accept"); got != handshakeAccept {
		return nil, 0, fmt.Errorf("Sec-WebSocket-Accept is %q", got)
	}
	config := wire.Config{Role: wire.Client}
	if agreed, ok := wire.Extensions(resp.Header["Sec-Websocket-Extensions"]); !ok {
		return nil, 0, fmt.Errorf("extensions: %q", resp.Header["Sec-Websocket-Extensions"])
	} else if len(agreed) > 0 {
		deflate, ok := compression.Agree(agreed[0])
		if !ok {
			return nil, 0, fmt.Errorf("extensions: %v", agreed)
		}
		bits, takeover := deflate.Window(wire.Server)
		config.Inflation = &wire.Inflation{
			WindowBits: bits, Takeover: takeover,
			Lend:   func() *wire.Inflater { return new(wire.Inflater) },
			Return: func(*wire.Inflater) {},
		}
	}
	s = &socket{
		link:    l,
		machine: wire.NewMachine(config),
		random:  rand.New(rand.NewPCG(l.rng.Uint64(), 0)),
		out:     make(chan [][]byte, 1024),
		closing: make(chan struct{}),
		mute:    !l.x.patient && !l.isCalm() && l.rng.IntN(4) == 0,
	}
	// Ends with closing, or when the connection is gone. Joined by end.
	s.sending.Go(s.write)
	return s, resp.StatusCode, nil
}

func (s *socket) write() {
	for {
		select {
		case pieces := <-s.out:
			for _, b := range pieces {
				if _, err := s.stream.Write(b); err != nil {
					return // the reader hears of it
				}
			}
		case <-s.closing:
			return
		}
	}
}

// say sends a message, whole or in fragments, or a control frame. It returns
// false if it was not sent, because the peer takes nothing.
func (s *socket) say(opcode wire.Opcode, payload []byte) bool {
	var frames []byte
	for !opcode.Control() && s.random.IntN(4) == 0 && len(payload) > 0 {
		n := s.random.IntN(len(payload))
		frames = wire.AppendMaskedFrame(frames, opcode, false, wire.Key(s.random.Uint32()), payload[:n])
		opcode, payload = wire.Continuation, payload[n:]
	}
	frames = wire.AppendMaskedFrame(frames, opcode, true, wire.Key(s.random.Uint32()), payload)
	pieces := [][]byte{frames}
	if s.random.IntN(4) == 0 {
		n := s.random.IntN(len(frames))
		pieces = [][]byte{frames[:n], frames[n:]}
	}
	select {
	case s.out <- pieces:
		return true
	default:
		return false
	}
}

func (s *socket) sayClose(code wire.CloseCode) {
	payload, err := wire.AppendClose(nil, code, "")
	if err != nil {
		panic(err)
	}
	s.say(wire.Close, payload)
}

// next returns the next message, valid until the next call. The error is a
// *closed when the server has closed, errTick, or the link's.
func (s *socket) next() (wire.Opcode, []byte, error) {
	for {
		event, n, err := s.machine.Next(s.rest)
		s.rest = s.rest[n:]
		if err != nil {
			return 0, nil, err
		}
		switch event.Kind {
		case wire.More:
			n, err := s.in.Read(s.buf[:])
			if err != nil {
				return 0, nil, err
			}
			s.rest = s.buf[:n]
		case wire.Chunk:
			if event.First {
				s.message = s.message[:0]
			}
			s.message = append(s.message, event.Payload...)
			if event.Last {
				return event.Opcode, s.message, nil
			}
		case wire.PingEvent:
			if !s.mute && !s.halved {
				s.say(wire.Pong, bytes.Clone(event.Payload))
			}
		case wire.PongEvent:
			s.ponged = string(event.Payload)
		case wire.CloseEvent:
			code, reason, err := wire.ParseClose(event.Payload)
			if err != nil {
				return 0, nil, err
			}
			if code != wire.CloseNoStatus && !s.halved {
				s.sayClose(code)
			}
			return 0, nil, &closed{code, reason}
		}
	}
}

// end closes the connection. If the server has closed it, it must hang up, too.
func (s *socket) end(cause error) {
	if _, ok := errors.AsType[*closed](cause); ok && s.rng.IntN(2) == 0 {
		if err := s.hungUp(); err != nil {
			s.x.errorf("after %v, instead of hanging up: %v", cause, err)
		}
	}
	close(s.closing)
	s.close()
	s.sending.Wait()
}
