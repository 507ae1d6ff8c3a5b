package check

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/duplexhq/duplex/client"
)

// eventType is that of the events that are looked for.
const eventType = "check"

// A probe is one transport over one version of HTTP, on a connection of its own.
type probe struct {
	Result
	c       *checker
	way     *way
	traffic traffic
	before  int // of it, before events were published

	began  time.Time
	signal time.Duration // until the first signal

	// next reads until the next event or signal, and returns its type.
	next  func(ctx context.Context) (string, error)
	close func() // may be nil
}

// A message is an event, a signal or an answer, as far as it is looked at.
type message struct {
	Event string `json:"event"`
}

// connect waits for the first signal.
func (p *probe) connect(ctx context.Context) {
	p.way = p.c.newWay(p.Version, &p.traffic)
	p.began = time.Now()
	var err error
	switch p.Transport {
	case client.WebSocket:
		err = p.websocket(ctx)
	case client.WebTransport:
		err = p.webtransport(ctx)
	case client.SSE, client.Stream:
		err = p.follow(ctx)
	case Publishing:
		if err = p.post(ctx, "probe"); err == nil {
			p.signalled()
		}
	default:
		err = p.page(ctx)
	}
	if err != nil {
		p.fail(p.explain(err))
		return
	}
	p.Works, p.FirstSignal = true, p.signal
	p.before = p.traffic.since(0)
}

// signalled notes the first signal.
func (p *probe) signalled() { p.signal = time.Since(p.began) }

// receive sees the events through that were published, and what they take.
func (p *probe) receive(ctx context.Context) {
	if p.next == nil {
		return
	}
	for got := 0; got < messages; {
		waiting, cancel := context.WithTimeoutCause(ctx, p.c.Timeout, errLost)
		event, err := p.next(waiting)
		cancel()
		if err != nil {
			p.Works = false
			p.fail(&failure{Lost, fmt.Sprintf("the first signal came, and then %d of %d events: %v", got, messages, shorten(err))})
			return
		}
		if event == eventType {
			got++
		}
	}
	p.Overhead = max(0, p.traffic.since(p.before)/messages-messageBytes)
}

// publish publishes the events, one by one.
func (p *probe) publish(ctx context.Context) error {
	for i := range messages {
		data := fmt.Sprintf("%-*d", messageBytes, i)
		if err := p.post(ctx, eventType, data); err != nil {
			return err
		}
	}
	return nil
}

func typeOf(text []byte) string {
	var m message
	_ = json.Unmarshal(bytes.TrimSpace(text), &m) // what is none has no type
	return m.Event
}

// release ends the connection.
func (p *probe) release() {
	if p.close != nil {
		p.close()
	}
	if p.way != nil {
		p.way.close()
	}
}

func (p *probe) fail(f *failure) { p.Works, p.Cause, p.Why = false, f.cause, f.text }
