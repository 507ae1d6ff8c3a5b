package conformance

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

func (t *trial) expect(e *expect) error {
	for i := range e.Messages {
		if err := t.expectMessage(&e.Messages[i]); err != nil {
			return err
		}
	}
	if e.Pongs != nil {
		if err := t.expectPongs(e.Pongs); err != nil {
			return err
		}
	}
	if e.Keys {
		if err := t.expectKeys(); err != nil {
			return err
		}
	}
	if e.Close != nil {
		if err := t.expectClose(e.Close); err != nil {
			return err
		}
	}
	if e.Fail != nil {
		if err := t.expectFail(e.Fail, t.promised(e.After)); err != nil {
			return err
		}
	}
	if e.End {
		if err := t.expectEnd(t.promised(e.After)); err != nil {
			return err
		}
	}
	return t.expectNothing(time.Duration(e.Nothing) * time.Millisecond)
}

func (t *trial) expectMessage(f *frame) error {
	p := t.peer
	want := message{opcode: f.Opcode}
	var err error
	if want.payload, err = f.bytes(t.Limit); err != nil {
		return err
	}
	// A close frame or the end may come with messages before it, but not with ones after it.
	p.await(t.Timeout, func() bool { return len(p.messages) > 0 || p.closed != nil })
	p.mu.Lock()
	var got *message
	if len(p.messages) > 0 {
		got = &p.messages[0]
		p.messages = p.messages[1:]
	}
	p.mu.Unlock()
	switch {
	case got == nil:
		return &failure{expected: want.String(), got: p.got()}
	case got.opcode != want.opcode || !bytes.Equal(got.payload, want.payload):
		return &failure{expected: want.String(), got: got.String() + difference(got.payload, want.payload)}
	}
	return nil
}

// difference says where two payloads that are too long to show differ.
func difference(got, want []byte) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf(", different at byte %d", i)
		}
	}
	return ""
}

// expectPongs allows for RFC 6455 §5.5.3: of several pings, only the most recent one has to be
// answered.
func (t *trial) expectPongs(payloads []payload) error {
	p := t.peer
	var wanted [][]byte
	for _, one := range payloads {
		b, err := one.bytes(t.Limit)
		if err != nil {
			return err
		}
		wanted = append(wanted, b)
	}
	expected := "pong " + show(wanted[len(wanted)-1])
	for len(wanted) > 0 {
		if !p.await(t.Timeout, func() bool { return len(p.pongs) > 0 }) {
			return &failure{expected: expected, got: p.got()}
		}
		p.mu.Lock()
		got := p.pongs[0]
		p.pongs = p.pongs[1:]
		p.mu.Unlock()
		i := slices.IndexFunc(wanted, func(b []byte) bool { return bytes.Equal(b, got) })
		if i < 0 {
			return &failure{expected: expected, got: "pong " + show(got)}
		}
		wanted = wanted[i+1:]
	}
	return nil
}

func (t *trial) expectKeys() error {
	p := t.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, times := range p.keys {
		if times > 1 {
			return &failure{expected: "a masking key of its own for each frame", got: fmt.Sprintf("% x for %d frames", key, times)}
		}
	}
	return nil
}

func (t *trial) expectClose(codes []int) error {
	p := t.peer
	if !p.await(t.Timeout, func() bool { return p.closed != nil }) {
		return &failure{expected: showClose(codes), got: p.got()}
	}
	if !slices.Contains(codes, p.closed.code) {
		return &failure{expected: showClose(codes), got: p.closed.String()}
	}
	return nil
}

func showClose(codes []int) string {
	var parts []string
	for _, code := range codes {
		if code == 1005 {
			parts = append(parts, "no code")
			continue
		}
		parts = append(parts, fmt.Sprint(code))
	}
	return "close frame with " + strings.Join(parts, " or ")
}

// expectFail follows RFC 6455 §7.1.7: the connection has to end, and there should be a close
// frame with an appropriate code before.
func (t *trial) expectFail(codes []int, more time.Duration) error {
	p := t.peer
	expected := showClose(codes) + ", then the end of TCP"
	p.await(t.Timeout+more, func() bool { return p.closed != nil || len(p.messages) > 0 })
	p.mu.Lock()
	delivered, closed, broken := len(p.messages) > 0, p.closed, p.fault != nil
	p.mu.Unlock()
	if delivered || broken {
		return &failure{expected: expected, got: p.got()}
	}
	if err := t.expectEnd(more); err != nil {
		return err
	}
	if closed == nil || !slices.Contains(codes, closed.code) {
		f := &failure{expected: expected, got: p.got()}
		if t.c.Level == Must {
			f.level = Should
		}
		return f
	}
	return nil
}

// expectEnd waits for the end of TCP. If a server is to close it first (RFC 6455 §7.1.1), and the
// suite is the server, it has done so before.
func (t *trial) expectEnd(more time.Duration) error {
	p := t.peer
	p.mu.Lock()
	closed := p.closed != nil
	p.mu.Unlock()
	if closed && t.under == Client {
		t.halfClose()
	}
	if !p.await(t.Timeout+more, func() bool { return p.end != "" }) {
		return &failure{expected: "the end of TCP", got: p.got()}
	}
	return nil
}

func (t *trial) expectNothing(d time.Duration) error {
	if d == 0 {
		return nil
	}
	p := t.peer
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	news := func() bool {
		return len(p.messages) > 0 || len(p.pongs) > 0 || p.closed != closed || p.fault != nil || p.end != ""
	}
	if p.await(d, news) {
		return &failure{expected: fmt.Sprintf("nothing for %v", d), got: p.got()}
	}
	return nil
}

// finish closes a connection that the case left open in good order: whatever was sent too much
// comes before the answer.
func (t *trial) finish() error {
	s := &step{Send: []frame{{Opcode: closing, payload: payload{Code: 1000}}}}
	if err := t.send(s); err != nil {
		return err
	}
	if err := t.expectClose([]int{1000, 1005}); err != nil {
		return err
	}
	if err := t.expectEnd(0); err != nil {
		return err
	}
	return t.nothingLeft()
}

func (t *trial) nothingLeft() error {
	if t.peer == nil {
		return nil
	}
	p := t.peer
	p.mu.Lock()
	left := len(p.messages)+len(p.pongs) > 0 || p.fault != nil
	p.mu.Unlock()
	if left {
		return &failure{expected: "nothing more", got: p.got()}
	}
	return nil
}
