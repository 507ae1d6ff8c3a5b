package websocket

import (
	"bytes"
	"testing"

	"github.com/duplexhq/duplex/websocket/wire"
)

// burst is messages that are received together.
func burst(p *peer, messages ...string) []byte {
	var frames []byte
	for _, m := range messages {
		frames = append(frames, p.frame(wire.Text, true, m)...)
	}
	return frames
}

// The answers to what was received together leave together, unless that takes too long.
func TestAnswersLeaveTogether(t *testing.T) {
	t.Parallel()
	kept := make(chan int, 1)
	s := newSite(t, polledWays(t)[0], ServerOptions{}, func(h *hooks) {
		h.message = func(c talker, messageType MessageType, message []byte) {
			if string(message) == "last" {
				kept <- c.(*EventConn).kept()
			}
			c.Write(messageType, message)
		}
	})
	p := s.dial()
	eventually(t, "all are kept for the last", func() bool {
		p.write(burst(p, "one", "two", "three", "last"))
		for _, m := range []string{"one", "two", "three", "last"} {
			p.want(wire.Text, true, m)
		}
		const header = 2
		return <-kept == 3*header+len("one"+"two"+"three") || t.Failed()
	})
}

// kept gives the bytes that are.
func (c *EventConn) kept() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cork == nil {
		return 0
	}
	return c.cork.n
}

// An answer does not wait for a handler that blocks.
func TestKeptAnswerLeavesAlone(t *testing.T) {
	eachWay(t, ServerOptions{}, blocking, func(t *testing.T, s *site) {
		if !s.way.blocks {
			t.Skip("promises not to block")
		}
		p := s.dial()
		p.write(burst(p, "first", "block", "last"))
		p.want(wire.Text, true, "first")
		s.hooks.release.open()
		p.want(wire.Text, true, "block")
		p.want(wire.Text, true, "last")
	})
}

// What is kept is not lost when the connection ends in order.
func TestKeptAnswersBeforeTheEnd(t *testing.T) {
	eachWay(t, ServerOptions{}, nil, func(t *testing.T, s *site) {
		bye := closePayload(t, CloseNormal, "bye")
		p := s.dial()
		p.write(append(burst(p, "first", "last"), p.frame(wire.Close, true, bye)...))
		p.want(wire.Text, true, "first")
		p.want(wire.Text, true, "last")
		p.want(wire.Close, true, bye)
		p.wantEnd()
	})
}

// What others write, an offer and a close frame come after what is kept.
func TestKeptAnswersKeepTheirOrder(t *testing.T) {
	t.Parallel()
	long := string(bytes.Repeat([]byte("long"), bufferBytes))
	for _, w := range polledWays(t) {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, w, ServerOptions{}, func(h *hooks) {
				h.message = func(c talker, messageType MessageType, message []byte) {
					switch string(message) {
					case "other":
						done := make(chan struct{})
						go func() {
							defer close(done)
							c.Write(messageType, message)
						}()
						<-done
					case "offer":
						if taken, err := c.(*EventConn).Offer(AppendMessage(nil, messageType, message)); !taken || err != nil {
							t.Errorf("Offer: %v, %v", taken, err)
						}
					case "close":
						c.Write(messageType, message)
						c.Close(CloseNormal, "enough")
					default:
						c.Write(messageType, message)
					}
				}
			})
			p := s.dial()
			p.write(burst(p, "own", "other", "own again", "offer", "and again", long, "close", "too late"))
			for _, m := range []string{"own", "other", "own again", "offer", "and again", long, "close"} {
				p.want(wire.Text, true, m)
			}
			p.want(wire.Close, true, closePayload(t, CloseNormal, "enough"))
		})
	}
}
