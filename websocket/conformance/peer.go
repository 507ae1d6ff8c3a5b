package conformance

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
	"unicode/utf8"
)

// peer is a connection to the implementation under test. A goroutine reads all that it sends, and
// holds it against the RFC, whatever the case is about.
type peer struct {
	conn    net.Conn
	in      *bufio.Reader
	under   Role
	timeout time.Duration
	encoder encoder

	agreed  *agreement // nil without compression
	history []byte     // what compressed messages may refer to; the reader's
	partial *message   // begun, and not ended; the reader's

	writing sync.Mutex
	running sync.WaitGroup
	news    chan struct{} // holds one token while there is something new

	mu       sync.Mutex // guards what follows
	messages []message
	pongs    [][]byte
	keys     map[string]int // how many frames had each masking key
	closed   *closeFrame
	closes   bool // a close frame was sent
	fault    error
	end      string // how the TCP connection ended, or ""
}

type message struct {
	opcode     opcode
	payload    []byte
	compressed bool
}

func (m message) String() string { return fmt.Sprintf("%s %s", m.opcode, show(m.payload)) }

type closeFrame struct {
	code   int // 1005 if there was none (RFC 6455 §7.1.5)
	reason string
}

func (c closeFrame) String() string { return fmt.Sprintf("close %d %q", c.code, c.reason) }

func newPeer(conn net.Conn, in *bufio.Reader, under Role, agreed *agreement, timeout time.Duration, limit int64) *peer {
	p := &peer{
		conn:    conn,
		in:      in,
		under:   under,
		timeout: timeout,
		encoder: encoder{masks: under == Server, limit: limit, deflate: compressor{bits: 15}},
		agreed:  agreed,
		news:    make(chan struct{}, 1),
		keys:    map[string]int{},
	}
	if agreed != nil {
		p.encoder.deflate.bits, _ = agreed.direction(p.role())
	}
	return p
}

// start begins to read frames.
func (p *peer) start() {
	p.conn.SetDeadline(time.Time{})
	p.running.Go(p.read) // ends with conn, joined by close
}

// startUnanswered is for a server whose answer, if any, does not matter, but its end.
func (p *peer) startUnanswered() {
	p.conn.SetDeadline(time.Time{})
	p.running.Go(func() { // as above
		_, err := io.Copy(io.Discard, p.in)
		p.stop(cmp.Or(err, io.EOF))
	})
}

// role is the suite's own.
func (p *peer) role() Role {
	if p.under == Server {
		return Client
	}
	return Server
}

func (p *peer) close() {
	p.conn.Close()
	p.running.Wait()
}

func (p *peer) read() {
	for {
		f, err := readFrame(p.in)
		if err == nil {
			err = p.take(f)
		}
		if err != nil {
			p.stop(err)
			return
		}
		p.tell()
	}
}

// tell wakes who waits.
func (p *peer) tell() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

func (p *peer) stop(err error) {
	p.mu.Lock()
	if _, ok := errors.AsType[fault](err); ok {
		p.fault = err
	} else {
		p.end = howEnded(err)
	}
	p.mu.Unlock()
	p.tell()
}

func howEnded(err error) string {
	switch {
	case err == io.EOF:
		return "FIN"
	case err == io.ErrUnexpectedEOF:
		return "FIN inside a frame"
	}
	return "RST"
}

// take judges a frame and keeps what it says.
func (p *peer) take(f *incoming) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return fault(fmt.Sprintf("a %s frame after the close frame (RFC 6455 §5.5.1)", f.opcode()))
	}
	if f.key != nil {
		p.keys[string(f.key)]++
	}
	switch masked := f.key != nil; {
	case masked && p.under == Server:
		return fault("a masked frame of a server (RFC 6455 §5.1)")
	case !masked && p.under == Client:
		return fault("a frame of a client that is not masked (RFC 6455 §5.1)")
	}
	if f.opcode() >= closing {
		return p.takeControl(f)
	}
	return p.takeData(f)
}

func (p *peer) takeControl(f *incoming) error {
	switch {
	case !f.fin():
		return fault("a fragmented control frame (RFC 6455 §5.5)")
	case len(f.payload) > 125:
		return fault("a control frame of more than 125 bytes (RFC 6455 §5.5)")
	case f.rsv() != 0:
		return fault("a control frame with a reserved bit (RFC 6455 §5.2)")
	}
	switch f.opcode() {
	case ping:
		p.reply(pong, f.payload)
	case pong:
		p.pongs = append(p.pongs, f.payload)
	case closing:
		return p.takeClose(f.payload)
	default:
		return fault(f.opcode().String() + ", which is reserved (RFC 6455 §5.2)")
	}
	return nil
}

// takeClose answers a close frame that is no answer itself (RFC 6455 §5.5.1).
func (p *peer) takeClose(payload []byte) error {
	c := &closeFrame{code: 1005}
	if len(payload) == 1 {
		return fault("a close frame with a payload of one byte (RFC 6455 §5.5.1)")
	}
	if len(payload) > 1 {
		c.code, c.reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
		if c.code < 1000 || c.code > 4999 || c.code == 1005 || c.code == 1006 || c.code == 1015 {
			return fault(fmt.Sprintf("a close frame with code %d (RFC 6455 §7.4)", c.code))
		}
		if !utf8.ValidString(c.reason) {
			return fault("a close frame whose reason is not UTF-8 (RFC 6455 §5.5.1)")
		}
	}
	p.closed = c
	if !p.closes {
		p.closes = true
		p.reply(closing, payload)
	}
	return nil
}

func (p *peer) takeData(f *incoming) error {
	if f.opcode() == continuation {
		switch {
		case p.partial == nil:
			return fault("a continuation of nothing (RFC 6455 §5.4)")
		case f.rsv() != 0:
			return fault("a continuation with a reserved bit (RFC 6455 §5.2, RFC 7692 §6.1)")
		}
	} else {
		rsv1 := f.rsv() == 4 && p.agreed != nil
		switch {
		case p.partial != nil:
			return fault("a message inside of another (RFC 6455 §5.4)")
		case f.rsv() != 0 && !rsv1:
			return fault("a reserved bit that nothing was agreed on for (RFC 6455 §5.2)")
		case f.opcode() > binaryData:
			return fault(f.opcode().String() + ", which is reserved (RFC 6455 §5.2)")
		}
		p.partial = &message{opcode: f.opcode(), compressed: rsv1}
	}
	m := p.partial
	m.payload = append(m.payload, f.payload...)
	if !f.fin() {
		return nil
	}
	p.partial = nil
	if m.compressed {
		bits, takeover := p.agreed.direction(p.under)
		inflated, err := inflate(m.payload, p.history, 1<<bits)
		if err != nil {
			return fault(err.Error() + " (RFC 7692 §7.2)")
		}
		m.payload = inflated
		if takeover {
			p.history = append(p.history, inflated...)
			p.history = p.history[max(len(p.history)-1<<bits, 0):]
		}
	}
	if m.opcode == text && !utf8.Valid(m.payload) {
		return fault("text that is not UTF-8 (RFC 6455 §5.6)")
	}
	p.messages = append(p.messages, *m)
	return nil
}

// reply sends a control frame, while reading goes on.
func (p *peer) reply(o opcode, payload []byte) {
	b, _ := p.encoder.appendFrame(nil, &frame{}, 0x80|byte(o), payload) // it has no key that could be wrong
	p.running.Go(func() { p.write(b, 0, 0) })                           // ends with conn, joined by close
}

// write sends b, in segments if chop is not 0. That the other side takes no more is not its
// failure: what it sends decides.
func (p *peer) write(b []byte, chop int, gap time.Duration) {
	p.writing.Lock()
	defer p.writing.Unlock()
	writeSegments(p.conn, b, chop, gap, p.timeout)
}

func writeSegments(conn net.Conn, b []byte, chop int, gap, timeout time.Duration) error {
	if chop == 0 {
		chop = max(len(b), 1)
	}
	for len(b) > 0 {
		segment := b[:min(chop, len(b))]
		b = b[len(segment):]
		conn.SetWriteDeadline(time.Now().Add(timeout))
		if _, err := conn.Write(segment); err != nil {
			return err
		}
		if len(b) > 0 && gap > 0 {
			time.Sleep(gap)
		}
	}
	return nil
}

// await waits until ready gives true, and no longer than d, or until nothing more can come.
func (p *peer) await(d time.Duration, ready func() bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		p.mu.Lock()
		ok := ready()
		over := p.fault != nil || p.end != ""
		p.mu.Unlock()
		if ok || over {
			return ok
		}
		select {
		case <-p.news:
		case <-timer.C:
			return false
		}
	}
}

// got describes what has come and was not expected yet.
func (p *peer) got() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var parts []string
	for _, m := range p.messages {
		parts = append(parts, m.String())
	}
	for _, payload := range p.pongs {
		parts = append(parts, "pong "+show(payload))
	}
	if p.closed != nil {
		parts = append(parts, p.closed.String())
	}
	if p.fault != nil {
		parts = append(parts, p.fault.Error())
	}
	if p.end != "" {
		parts = append(parts, p.end)
	} else if p.fault == nil {
		parts = append(parts, "a connection that stays open")
	}
	return list(parts)
}

func list(parts []string) string {
	const most = 4
	text := ""
	for i, part := range parts {
		switch {
		case i == most:
			return fmt.Sprintf("%s, and %d more", text, len(parts)-most)
		case i > 0:
			text += ", then "
		}
		text += part
	}
	return text
}
