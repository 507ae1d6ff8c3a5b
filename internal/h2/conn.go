package h2

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/duplexhq/duplex/internal/h2/wire"
)

// A conn is one connection. It is the wire.Events of its machine.
type conn struct {
	server  *Server
	handler http.Handler
	ctx     context.Context // of all requests
	cancel  context.CancelFunc
	remote  string
	tls     *tls.ConnectionState // nil: plain
	began   time.Time
	over    func()        // or nil
	ended   chan struct{} // closed at the end: of the connection, and of its handlers

	mu        sync.Mutex // guards what follows. The calls of out do not block
	m         *wire.Machine
	out       transport
	running   int         // handlers
	waiting   []*exchange // for a handler to return; some may be over
	told      []notice    // for owners, by who unlocks
	promised  bool        // somebody will call Flush
	draining  bool        // it is to end when it has no streams
	failing   bool        // it ends in time
	ignored   int         // bytes that came after the end
	finished  bool        // everything was sent, and it is being closed
	closed    bool        // the network is gone
	timer     *time.Timer
	received  time.Duration // when the last bytes came, since began
	pinged    time.Duration // when a ping was sent that is not answered; 0 if none is
	resting   time.Duration // since when there is no stream
	announced time.Duration // when the first GOAWAY was sent; 0 if none was
}

// A transport sends what a connection has to say. Its methods are called with
// the connection's mu held, and do not block.
type transport interface {
	// send sends out, which it frees, and reports whether some of it is still to
	// be sent. Then conn.drained follows.
	send(out []byte) (blocked bool)
	// close ends the connection in order: all was sent.
	close()
	// abort ends it at once.
	abort()
}

// A notice is told to an owner when mu is free.
type notice struct {
	owner Owner
	over  bool
	err   error
}

// unlock is for everybody who may have done something that owners are told of.
func (c *conn) unlock() {
	told := c.told
	c.told = nil
	c.mu.Unlock()
	for _, n := range told {
		if n.over {
			n.owner.Closed(n.err)
		} else {
			n.owner.Drained()
		}
	}
}

func (c *conn) since() time.Duration { return time.Since(c.began) }

// start is called once there is a transport, before anything is received.
func (c *conn) start() {
	c.mu.Lock()
	defer c.unlock()
	c.timer = time.AfterFunc(c.server.options.GreetTimeout, c.tick) // stopped by end
	if c.draining {
		c.m.Depart()
	}
	c.flush()
}

// receive takes bytes of the client.
func (c *conn) receive(p []byte) {
	c.mu.Lock()
	defer c.unlock()
	if c.closed || c.finished || c.failing {
		if c.ignored += len(p); c.ignored > lingerBytes && !c.closed {
			c.out.abort()
		}
		return
	}
	c.received, c.pinged = c.since(), 0
	c.m.Receive(p, c.received) // a fault shows in Failed
	c.flush()
}

// flush sends what there is, and what waits for room. The caller holds mu.
func (c *conn) flush() {
	if c.closed || c.finished || c.out == nil {
		return
	}
	for !c.m.Blocked {
		c.m.Fill()
		if len(c.m.Out) == 0 {
			break
		}
		out := c.m.Out
		c.m.Out = nil
		if c.m.Blocked = c.out.send(out); !c.m.Waiting() {
			break
		}
	}
	switch failed := c.m.Failed(); {
	case failed && c.m.Blocked:
		if !c.failing { // who reads is told why
			c.failing = true
			time.AfterFunc(linger, c.abort) // harmless if it has ended
		}
	case !c.m.Blocked && (failed || (c.draining || c.m.Left()) && c.m.Open() == 0):
		c.finished = true
		c.out.close()
	}
}

// drained is for the transport, when everything was sent. The caller holds mu.
func (c *conn) drained() {
	c.m.Blocked = false
	c.flush()
	c.runWaiting()
}

// end is for the transport, when the network is gone.
func (c *conn) end(err error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	c.timer.Stop()
	c.cancel()
	for _, x := range c.waiting {
		x.stream.x = nil
	}
	c.waiting = nil
	var left []*stream
	c.m.Each(func(s *wire.Stream) { left = append(left, s.Owner.(*stream)) })
	freeOut(c.m.Out)
	c.m.Close()
	for _, s := range left {
		s.lost(err)
	}
	c.checkEnd()
	c.unlock()
}

// checkEnd lets go of a connection that has neither a network nor a handler.
// The caller holds mu.
func (c *conn) checkEnd() {
	if c.closed && c.running == 0 {
		close(c.ended)
		if c.over != nil {
			c.over()
		}
		c.server.remove(c)
	}
}

// tick is called by the timer. It ends a connection that has nothing to say,
// and finds out whether its client is alive.
func (c *conn) tick() {
	c.mu.Lock()
	defer c.unlock()
	if c.closed {
		return
	}
	o, now := &c.server.options, c.since()
	next := c.received + o.Ping
	switch {
	case c.finished: // the transport has its own limit
		return
	case !c.m.Greeted() && now >= o.GreetTimeout, c.pinged > 0 && now >= c.pinged+o.PingTimeout:
		c.out.abort()
		return
	case !c.m.Greeted():
		next = o.GreetTimeout
	case c.pinged > 0:
		next = c.pinged + o.PingTimeout
	case now >= next:
		c.m.Ping()
		c.pinged = max(now, 1)
		next = now + o.PingTimeout
	}
	if c.m.Open() == 0 && c.m.Greeted() {
		if now >= c.resting+o.IdleTimeout {
			c.draining = true
			c.m.Depart()
		}
		next = min(next, c.resting+o.IdleTimeout)
	}
	c.timer.Reset(max(next-now, time.Millisecond))
	c.flush()
}

// patience is how long a client may take to hear that it is to begin no more
// requests.
const patience = 500 * time.Millisecond

// announce is the first of two steps (RFC 9113 §6.8).
func (c *conn) announce() {
	c.mu.Lock()
	defer c.unlock()
	if c.announced == 0 && !c.draining {
		c.announced = max(c.since(), 1)
		c.m.Announce()
		c.flush()
	}
}

// depart is the second: what is under way is finished, the rest passed over.
// Who was not told before is given time to hear of it.
func (c *conn) depart() {
	c.announce()
	c.mu.Lock()
	defer c.unlock()
	if wait := c.announced + patience - c.since(); wait > 0 && c.m.Open() > 0 {
		time.AfterFunc(wait, c.leave) // at the latest; harmless then
		return
	}
	c.leaveNow()
}

func (c *conn) leave() {
	c.mu.Lock()
	defer c.unlock()
	c.leaveNow()
}

// leaveNow is called with mu held.
func (c *conn) leaveNow() {
	if !c.closed {
		c.draining = true
		c.m.Depart()
		c.flush()
	}
}

func (c *conn) abort() {
	c.mu.Lock()
	defer c.unlock()
	if !c.closed {
		c.finished = true
		c.out.abort()
	}
}

// Request is the machine's, as the next ones. They are called with mu held.
func (c *conn) Request(ws *wire.Stream, head *wire.Head) {
	s := &stream{wire: ws, conn: c}
	ws.Owner = s
	c.launch(newExchange(s, head))
}

// launch has a handler answer, or wait until another has returned. Who resets
// requests frees their streams, but not the handlers (CVE-2023-44487): so those
// are counted.
func (c *conn) launch(x *exchange) {
	switch {
	case c.mayRun() && len(c.waiting) == 0:
		c.running++
		go x.run() // Ends when the handler returns. Joined by ended.
	case len(c.waiting) < 4*c.server.options.MaxStreams:
		c.waiting = append(c.waiting, x)
	default:
		c.m.Fail(&wire.Fault{Code: wire.EnhanceYourCalm, Reason: "requests are begun faster than they end"})
	}
}

// deafHandlers bounds the handlers that run for a client which takes nothing at
// the moment: each may make an answer that has to wait.
const deafHandlers = 32

// mayRun reports whether one more handler may.
func (c *conn) mayRun() bool {
	return c.running < c.server.options.MaxStreams && (c.running < deafHandlers || !c.m.Blocked)
}

// returned is called with mu held, when a handler has returned.
func (c *conn) returned() {
	c.running--
	c.runWaiting()
	c.checkEnd()
}

// runWaiting is called with mu held, when more may run.
func (c *conn) runWaiting() {
	for len(c.waiting) > 0 && c.mayRun() && !c.closed {
		x := c.waiting[0]
		c.waiting[0] = nil
		c.waiting = c.waiting[1:]
		if !x.stream.wire.Over() {
			c.running++
			go x.run() // as above
		}
	}
	if len(c.waiting) == 0 {
		c.waiting = nil
	}
}

func (c *conn) Data(ws *wire.Stream, p []byte) {
	s := ws.Owner.(*stream)
	if s.x == nil || s.x.body == nil || s.x.body.closed {
		c.m.Consume(ws, len(p))
		return
	}
	s.x.body.add(p)
}

func (c *conn) End(ws *wire.Stream, trailer []hpack.HeaderField) {
	if s := ws.Owner.(*stream); s.x != nil && s.x.body != nil {
		s.x.endBody(trailer)
	}
}

func (c *conn) Reset(ws *wire.Stream, code wire.Code) {
	ws.Owner.(*stream).lost(&StreamError{Code: code.String()})
}

func (c *conn) Room(ws *wire.Stream) { ws.Owner.(*stream).goOn() }

func (c *conn) Pong() {}

// A StreamError says that a stream was reset.
type StreamError struct{ Code string }

func (e *StreamError) Error() string { return "h2: the stream was reset: " + e.Code }

// Is has the errors of one kind match net.ErrClosed.
func (e *StreamError) Is(target error) bool { return target == net.ErrClosed }
