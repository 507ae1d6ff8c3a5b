package conformance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// failure is what was expected and what came instead.
type failure struct {
	level         Level // "" for that of the case
	expected, got string
}

func (f *failure) Error() string { return "expected " + f.expected + "; got " + f.got }

// skip says why a case does not apply.
type skip string

func (s skip) Error() string { return string(s) }

// errRefused ends a case well: the handshake was refused, as it was allowed to be.
var errRefused = errors.New("refused")

// trial is a case under way.
type trial struct {
	*Options
	under   Role
	c       *Case
	deflate bool // the implementation knows permessage-deflate

	dial    func(context.Context) (net.Conn, error) // to a server
	request *clientRequest                          // of a client
	host    string
	path    string

	peer *peer // nil before and between connections
}

// run gives the result of the case.
func (t *trial) run(ctx context.Context) Result {
	began := time.Now()
	err := t.steps(ctx)
	t.hangUp()
	r := Result{Case: t.c.ID, RFC: t.c.RFC, Quote: t.c.Quote, Level: t.c.Level, Verdict: Pass, Took: time.Since(began)}
	if f, ok := errors.AsType[*failure](err); ok {
		r.Verdict, r.Expected, r.Got = Fail, f.expected, f.got
		if f.level != "" {
			r.Level = f.level
		}
	} else if reason, ok := errors.AsType[skip](err); ok {
		r.Verdict, r.Reason = Skip, string(reason)
	} else if err != nil && err != errRefused {
		r.Verdict, r.Expected, r.Got = Fail, "a connection", err.Error()
	}
	return r
}

func (t *trial) hangUp() {
	if t.peer != nil {
		t.peer.close()
		t.peer = nil
	}
}

func (t *trial) steps(ctx context.Context) error {
	if err := t.needs(); err != nil {
		return err
	}
	over := false
	for i := range t.c.steps {
		s := &t.c.steps[i]
		over = s.Expect.last() || over && s.Connect == nil || s.End != ""
		if err := t.step(ctx, s); err != nil {
			return err
		}
	}
	if over || t.peer == nil {
		return t.nothingLeft()
	}
	return t.finish()
}

// needs skips a case that asks for what nobody promised.
func (t *trial) needs() error {
	for _, need := range t.c.needs {
		switch need {
		case "limit":
			if t.Limit <= 0 {
				return skip("its message limit is not known")
			}
		case "subprotocol":
			if t.Subprotocol == "" {
				return skip("no subprotocol of its is known")
			}
		case "same-origin":
			if !t.SameOrigin {
				return skip("it does not promise to refuse other origins")
			}
		case "handshake-timeout", "message-timeout":
			if t.promised(need) <= 0 {
				return skip("it promises no " + need)
			}
		case "deflate":
			if !t.deflate {
				return skip("it does not negotiate permessage-deflate")
			}
		}
	}
	return nil
}

// promised gives the option of that name.
func (t *trial) promised(name string) time.Duration {
	switch name {
	case "handshake-timeout":
		return t.HandshakeTimeout
	case "message-timeout":
		return t.MessageTimeout
	}
	return 0
}

// agreedNeeds skips a case that depends on what a handshake agreed on.
func (t *trial) agreedNeeds() error {
	agreed := t.peer.agreed
	if agreed == nil {
		return nil
	}
	bits, takeover := agreed.direction(t.peer.role())
	switch {
	case slices.Contains(t.c.needs, "takeover") && !takeover:
		return skip("what it receives may not refer to earlier messages")
	case slices.Contains(t.c.needs, "window-15") && bits != 15:
		return skip(fmt.Sprintf("what it receives has a window of %d bits", bits))
	}
	return nil
}

func (t *trial) step(ctx context.Context, s *step) error {
	if s.Connect != nil || s.Accept != nil {
		t.hangUp()
		open, h := t.connect, s.Connect
		if t.under == Client {
			open, h = t.accept, s.Accept
		}
		if h == nil {
			h = &handshake{}
		}
		if err := open(ctx, h); err != nil {
			return err
		}
		if err := t.agreedNeeds(); err != nil {
			return err
		}
	}
	if s.Send != nil {
		if err := t.send(s); err != nil {
			return err
		}
	}
	time.Sleep(time.Duration(s.Pause) * time.Millisecond)
	switch s.End {
	case "half-close":
		t.halfClose()
	case "reset":
		t.peer.conn.(*net.TCPConn).SetLinger(0) // Close sends RST now
		t.hangUp()
	}
	if s.Expect != nil {
		return t.expect(s.Expect)
	}
	return nil
}

func (t *trial) send(s *step) error {
	p := t.peer
	b, err := p.encoder.frames(s.Send)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(s.Send, func(f frame) bool { return f.Opcode == closing }) {
		p.mu.Lock()
		p.closes = true
		p.mu.Unlock()
	}
	p.write(b, s.Chop, time.Duration(s.Gap)*time.Millisecond)
	return nil
}

func (t *trial) halfClose() {
	t.peer.conn.(*net.TCPConn).CloseWrite() // if it fails, the connection has ended already
}

// connect opens a connection to a server under test.
func (t *trial) connect(ctx context.Context, h *handshake) error {
	conn, err := t.dial(ctx)
	if err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(t.Timeout + t.HandshakeTimeout))
	key := h.key()
	v := variables{"host": t.host, "path": t.path, "key": key, "accept": acceptKey(key), "subprotocol": t.Subprotocol}
	if err := t.open(conn, h, h.head("GET {path} HTTP/1.1", requestFields, v)); err != nil {
		conn.Close()
		return err
	}
	in := bufio.NewReader(conn)
	if h.Cut > 0 {
		t.peer = newPeer(conn, in, t.under, nil, t.Timeout, t.Limit)
		t.peer.startUnanswered()
		return nil
	}
	got, err := readResponse(in)
	if err != nil {
		conn.Close()
		if h.Expect.MayEnd {
			return errRefused
		}
		return &failure{expected: "an HTTP response", got: err.Error()}
	}
	agreed, err := t.judgeResponse(h.Expect, got, v)
	if err != nil {
		conn.Close()
		return err
	}
	t.peer = newPeer(conn, in, t.under, agreed, t.Timeout, t.Limit)
	t.peer.start()
	return nil
}

// open writes a head and what is glued to it.
func (t *trial) open(conn net.Conn, h *handshake, head []byte) error {
	e := encoder{masks: t.under == Server, limit: t.Limit}
	glued, err := e.frames(h.Glue)
	if err != nil {
		return err
	}
	b := append(head, glued...)
	if h.Cut > 0 {
		b = b[:min(h.Cut, len(b))]
	}
	// Who refuses a head may do so before all of it is there: the answer counts, not the write.
	writeSegments(conn, b, h.Chop, time.Duration(h.Gap)*time.Millisecond, t.Timeout)
	return nil
}

func (t *trial) judgeResponse(want check, got head, v variables) (*agreement, error) {
	if want.Line == "" {
		want.Line = `^HTTP/1\.1 101 `
	}
	if err := want.judge(got, v); err != nil {
		return nil, err
	}
	if !matches(`^HTTP/\S+ 101 `, got.line, nil) {
		return nil, errRefused
	}
	if err := upgraded.judge(got, v); err != nil {
		return nil, err
	}
	agreed, err := parseAgreement(got.field("Sec-WebSocket-Extensions"))
	if err != nil {
		return nil, &failure{expected: "Sec-WebSocket-Extensions as RFC 7692 §7.1 defines it", got: err.Error()}
	}
	return agreed, nil
}

// accept answers the request of a client under test.
func (t *trial) accept(_ context.Context, h *handshake) error {
	conn, got := t.request.conn, t.request.head
	v := variables{
		"host":        t.host,
		"path":        t.path,
		"accept":      acceptKey(got.field("Sec-WebSocket-Key")),
		"subprotocol": t.Subprotocol,
		"deflate":     answer(got.field("Sec-WebSocket-Extensions")),
	}
	if t.request.repeated {
		return &failure{expected: "a key of its own for each connection (RFC 6455 §4.1)", got: got.field("Sec-WebSocket-Key") + " again"}
	}
	if err := h.Expect.judge(got, v); err != nil {
		return err
	}
	response := h.head("HTTP/1.1 101 Switching Protocols", responseFields, v)
	if err := t.open(conn, h, response); err != nil {
		return err
	}
	var agreed *agreement
	for _, field := range h.Fields {
		if name, value, _ := strings.Cut(v.fill(field), ": "); name == "Sec-WebSocket-Extensions" {
			agreed, _ = parseAgreement(value) // a case may answer what is wrong
		}
	}
	t.peer = newPeer(conn, t.request.in, t.under, agreed, t.Timeout, t.Limit)
	t.peer.start()
	return nil
}
