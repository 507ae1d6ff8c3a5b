//go:build linux

package load

import (
	"bytes"
	"fmt"

	"github.com/duplexhq/duplex/websocket/wire"
)

// text takes a JSON text of a subscription: it may hold messages, as strings
// called "data", or something else that the server has to say. Messages hold
// nothing that JSON would escape.
func (l *loop) text(c *conn, text []byte) error {
	if c.via == socket && c.state == open {
		return l.outcome(c, text)
	}
	if c.state == greeting {
		if bytes.Contains(text, []byte(`"error"`)) {
			return fmt.Errorf("the server has answered %.200s", text)
		}
		if bytes.Contains(text, []byte(c.subscription.Ready)) {
			l.opened(c)
		}
	}
	l.learn(c, text)
	const member, quote = `"data":"`, `"`
	found := false
	for rest := text; ; found = true {
		i := bytes.Index(rest, []byte(member))
		if i < 0 {
			break
		}
		rest = rest[i+len(member):]
		end := bytes.IndexByte(rest, quote[0])
		if end < 0 {
			return fmt.Errorf("the server has sent half a text: %.200s", text)
		}
		c.arrival.feed(l.run.pattern, rest[:end])
		l.message(c)
		rest = rest[end+1:]
	}
	if beat := c.subscription.Heartbeat; beat != "" && hasLine(text, beat) {
		return l.send(c, wire.AppendMaskedFrame(nil, wire.Text, true, maskKey, []byte(beat)))
	}
	switch {
	case found:
	case bytes.Contains(text, []byte(`"$gap"`)):
		c.gapped = true
	case bytes.HasPrefix(text, []byte(`{"op":"error"`)):
		return fmt.Errorf("the server has answered %.200s", text)
	}
	return nil
}

// hasLine reports whether one of the text's lines is that one.
func hasLine(text []byte, line string) bool {
	for l := range bytes.SplitSeq(text, []byte("\n")) {
		if string(l) == line {
			return true
		}
	}
	return false
}

// outcome takes what is said to a connection that publishes.
func (l *loop) outcome(c *conn, text []byte) error {
	switch {
	case bytes.HasPrefix(text, []byte(`{"op":"ok"`)):
		return l.run.work.answered(l, c, 200)
	case bytes.HasPrefix(text, []byte(`{"op":"error"`)):
		return fmt.Errorf("a publish was answered with %.200s", text)
	}
	return nil // a signal
}

// learn keeps the cursor of a text.
func (l *loop) learn(c *conn, text []byte) {
	if (l.run.cursors || c.via == LongPoll) && l.run.dialect.Cursor != nil {
		c.cursor = l.run.dialect.Cursor(c.cursor, text)
	}
}

// page takes the answer to a long-poll, and asks for the next one.
func (l *loop) page(c *conn) error {
	h := c.http
	if h.response.status/100 != 2 && h.response.status != 304 {
		return fmt.Errorf("the server has answered %d to a long-poll: %.200s", h.response.status, h.page)
	}
	first := c.state == shaking
	if c.subscription.JSON {
		if i := bytes.LastIndex(h.page, []byte(`"cursor":`)); i >= 0 && bytes.Contains(h.page[i:], []byte(`"gap":`)) {
			c.gapped = true
		}
		if err := l.text(c, h.page); err != nil {
			return err
		}
	} else if len(h.page) > 0 {
		c.arrival.feed(l.run.pattern, h.page)
		l.message(c)
	}
	if first {
		l.opened(c)
	}
	if validators := h.response.validators; len(validators) > 0 {
		c.cursor = append(c.cursor[:0], validators...)
	}
	subscription, err := l.run.dialect.Subscribe(c.via, l.run.work.topics(c), string(c.cursor))
	if err != nil {
		return err
	}
	c.subscription = &subscription
	l.out = l.run.appendSubscription(l.out[:0], c)
	return l.send(c, l.out)
}
