package server_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// A cut is the way that a connection is lost.
type cut string

const (
	cutClose cut = "FIN"
	cutReset cut = "RST"
	cutHalf  cut = "half-close" // and then everything that still comes is read
)

// A mood says how a client treats its connection.
type mood struct {
	step   int           // bytes of a read, at most; 0 is any number
	stalls int           // of so many reads one waits before; 0 is none
	left   int           // bytes to be read until the cut; negative is all
	life   time.Duration // until the cut; 0 is for ever
	cut    cut
	tears  int // of so many sends one is cut within; 0 is none
	buffer int // of the kernel, for what is received, in bytes; 0 is the usual one
}

// calm reads everything.
var calm = mood{left: -1}

func (m mood) isCalm() bool { return m.cut == "" }

func hostileMood(rng *rand.Rand) mood {
	m := mood{cut: []cut{cutClose, cutReset, cutHalf}[rng.IntN(3)]}
	m.life = time.Duration(rng.Int64N(int64(tortureLife)))
	switch rng.IntN(4) {
	case 0:
		m.left = rng.IntN(400) // in the header, or the first events
	case 1:
		m.left = rng.IntN(100_000)
	case 2:
		m.left = -1
	default:
		m.left = rng.IntN(6000)
	}
	if rng.IntN(3) == 0 {
		m.step = []int{1, 7, 100, 1500}[rng.IntN(4)]
	}
	if rng.IntN(2) == 0 {
		m.stalls = 1 + rng.IntN(30)
	}
	if rng.IntN(3) == 0 && m.cut != cutHalf { // what still comes would come too slowly
		m.buffer = 2 << 10
	}
	if rng.IntN(4) == 0 {
		m.tears = 1 + rng.IntN(20)
	}
	return m
}

// smallReceiver makes the kernel's buffer small before there is a connection;
// nil where that is not known how.
var smallReceiver func(conn syscall.RawConn, bytes int) error

var (
	errCut   = errors.New("cut by the client")
	errTick  = errors.New("nothing came for a tick")
	errStuck = errors.New("nothing came until the end of the round")
)

// A link is one connection of a client in a mood. One goroutine may use it,
// while another one writes.
type link struct {
	*net.TCPConn
	stream net.Conn // what is read and written: that, or TLS on it
	mood
	x    *torture
	rng  *rand.Rand
	in   *bufio.Reader // what HTTP is read from
	read int           // bytes so far

	until   time.Time     // its life
	tick    time.Duration // a read that takes longer gives errTick; 0 is none
	halved  bool          // this side is closed
	proxied bool          // it is to the gateway
	cause   error         // the last one of a read but errTick
}

// dial connects. The error is good if the server is stopping.
func (x *torture) dial(rng *rand.Rand, m mood) (*link, error) {
	return x.dialTo(x.address, rng, m)
}

// dialTo connects to the server, or to the gateway before it.
func (x *torture) dialTo(address string, rng *rand.Rand, m mood) (*link, error) {
	d := net.Dialer{Deadline: x.deadline}
	if m.buffer > 0 && smallReceiver != nil {
		d.Control = func(_, _ string, c syscall.RawConn) error { return smallReceiver(c, m.buffer) }
	}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		if !x.stopping.Load() {
			x.errorf("dial: %v", err)
		}
		return nil, err
	}
	l := &link{TCPConn: conn.(*net.TCPConn), stream: conn, x: x, rng: rng, proxied: address != x.address}
	if err := l.SetDeadline(x.deadline); err != nil {
		x.errorf("%v", err)
	}
	if x.secure && address == x.address {
		secured := tls.Client(conn, x.tls)
		if err := secured.Handshake(); err != nil {
			if !x.stopping.Load() {
				x.errorf("handshake: %v", err)
			}
			conn.Close()
			return nil, err
		}
		l.stream = secured
	}
	l.feel(m)
	l.in = bufio.NewReader(l)
	return l, nil
}

// feel puts the link into a mood.
func (l *link) feel(m mood) {
	l.mood, l.until = m, time.Time{}
	if m.life > 0 {
		l.until = time.Now().Add(m.life)
	}
}

// Read reads as the mood is.
func (l *link) Read(p []byte) (int, error) {
	if l.cause != nil {
		return 0, l.cause // bufio forgets it
	}
	if l.stalls > 0 && l.rng.IntN(l.stalls) == 0 {
		time.Sleep(time.Duration(l.rng.Int64N(int64(tortureStall))))
	}
	if l.step > 0 {
		p = p[:min(len(p), 1+l.rng.IntN(l.step))]
	}
	for {
		if l.left == 0 || !l.until.IsZero() && time.Now().After(l.until) {
			if l.left, l.until = -1, (time.Time{}); l.cut != cutHalf {
				l.cause = errCut
				return 0, errCut
			}
			l.halve()
		}
		limited := p
		if l.left > 0 {
			limited = p[:min(len(p), l.left)]
		}
		deadline := l.x.deadline
		if !l.until.IsZero() && l.until.Before(deadline) {
			deadline = l.until
		}
		if l.tick > 0 && !l.halved {
			if tick := time.Now().Add(l.tick); tick.Before(deadline) {
				deadline = tick
			}
		}
		n, err := l.timedRead(limited, deadline)
		l.read += n
		if l.left > 0 {
			l.left -= n
		}
		switch {
		case n > 0:
			return n, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			l.cause = err
			return 0, err
		case time.Now().After(l.x.deadline):
			l.cause = errStuck
			return 0, errStuck
		case l.until.IsZero() || time.Now().Before(l.until):
			return 0, errTick
		}
	}
}

func (l *link) timedRead(p []byte, deadline time.Time) (int, error) {
	if err := l.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	return l.stream.Read(p)
}

// halve closes this side.
func (l *link) halve() {
	l.halved, l.stalls, l.step = true, 0, 0
	_ = l.stream.(interface{ CloseWrite() error }).CloseWrite() // if it fails, there is nobody any more
}

// send writes, in pieces or not to the end. An error is errCut, or means that
// the server is gone: then a read says so, too.
func (l *link) send(b []byte) error {
	if l.tears > 0 && l.rng.IntN(l.tears) == 0 {
		l.cause = errCut
		_, _ = l.stream.Write(b[:l.rng.IntN(len(b)+1)])
		return errCut
	}
	if l.rng.IntN(4) > 0 {
		_, err := l.stream.Write(b)
		return err
	}
	for pieces := 0; len(b) > 0; pieces++ {
		n := len(b)
		if pieces < 20 {
			n = min(n, 1+l.rng.IntN(1+len(b)/4))
		}
		if _, err := l.stream.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
		pause(l.rng, time.Millisecond)
	}
	return nil
}

// close ends the connection in the way that the mood says.
func (l *link) close() {
	if l.cause == errCut && l.cut == cutReset {
		_ = l.SetLinger(0) // if it fails, it is a FIN
	}
	_ = l.TCPConn.Close() // nobody waits for anything
}

// lost judges why a connection ended, other than by what the protocol says. It
// returns false if the server had no reason.
func (l *link) lost(err error) bool {
	switch l.cause {
	case errCut:
		return true
	case errStuck, nil:
		return false // stuck, or it is not the connection that is faulty
	}
	return l.halved || !l.x.patient || l.x.stopping.Load()
}

// answer reads the header of the next answer to a request of that method.
func (l *link) answer(method string) (*http.Response, error) {
	return http.ReadResponse(l.in, &http.Request{Method: method})
}

// whole reads the next answer with its body.
func (l *link) whole(method string) (*http.Response, []byte, error) {
	resp, err := l.answer(method)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

// hungUp waits for the server to close, without another word.
func (l *link) hungUp() error {
	l.left, l.until, l.tick, l.stalls = -1, time.Time{}, 0, 0
	rest, err := io.ReadAll(l.in)
	switch {
	case len(rest) > 0:
		return fmt.Errorf("%d bytes came: %.100x", len(rest), rest)
	case errors.Is(err, syscall.ECONNRESET):
		return nil
	}
	return err
}

// pause is none, or one of up to d.
func pause(rng *rand.Rand, d time.Duration) {
	if rng.IntN(2) == 0 {
		time.Sleep(time.Duration(rng.Int64N(int64(d))))
	}
}
