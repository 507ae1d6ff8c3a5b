package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/duplexhq/duplex/websocket/wire"
)

// directBytes is how much payload must be to come for it to be read straight into the caller's
// memory. Less is read into a buffer, together with the frames after it.
const directBytes = bufferBytes / 2

// input is the reading half of a connection.
type input struct {
	source  source
	machine wire.Machine

	data     []byte // received, and not given to the machine
	chunk    []byte // from the machine, and not given to the caller
	last     bool   // chunk is the last of its message
	open     bool   // a message was begun, and its caller has not seen its end
	deadline bool   // the net.Conn has a read deadline

	message uint64        // counts messages
	waited  time.Duration // for the rest of the message
}

func (in *input) init(conn net.Conn, config wire.Config, early []byte) {
	in.source.direct = newDirect(conn)
	in.machine = wire.NewMachine(config)
	in.data = early
}

// next finds the next chunk, and gives the type of its message. It answers control frames that come
// before. If ctx ends or nothing comes for too long, calling it again goes on where it was; all other
// errors are the end of the connection.
func (c *Conn) next(ctx context.Context) (MessageType, error) {
	in := &c.in
	for {
		event, n, err := in.machine.Next(in.data)
		in.data = in.data[n:]
		if c.observe != nil && event.Frame {
			c.observedReceived(event.Payload)
		}
		if err != nil {
			return 0, c.fail(err)
		}
		switch event.Kind {
		case wire.More:
			data, err := c.receive(ctx, nil)
			if err != nil {
				return 0, err
			}
			in.data = data
		case wire.Chunk:
			in.chunk, in.last = event.Payload, event.Last
			return event.Opcode, nil
		case wire.PingEvent:
			c.answer(event.Payload)
		case wire.PongEvent:
			c.pings.answered(event.Payload)
		case wire.CloseEvent:
			return 0, c.closedByPeer(event.Payload)
		}
	}
}

// begin gives the first chunk of the next message to in, after leaving out what remains of the
// one before.
func (c *Conn) begin(ctx context.Context) (MessageType, error) {
	if over := c.over(); over != nil {
		return 0, over
	}
	in := &c.in
	in.message++ // readers of earlier ones are out of date
	for in.open && !in.last {
		if _, err := c.next(ctx); err != nil {
			return 0, err
		}
	}
	in.open, in.chunk, in.waited = false, nil, 0
	in.machine.SetLimit(c.readLimit.Load())
	if len(in.data) == 0 {
		// So would next do, but most connections spend their life here: they should do it on the
		// smallest stack.
		data, err := c.receive(ctx, nil)
		if err != nil {
			return 0, err
		}
		in.data = data
	}
	messageType, err := c.next(ctx)
	in.open = err == nil
	return messageType, err
}

// fill reads some of the message into p, and gives io.EOF at its end.
func (c *Conn) fill(ctx context.Context, p []byte) (int, error) {
	in := &c.in
	for {
		if len(in.chunk) > 0 {
			n := copy(p, in.chunk)
			in.chunk = in.chunk[n:]
			return n, nil
		}
		if in.last {
			in.open = false
			return 0, io.EOF
		}
		if len(in.data) == 0 {
			if n := min(in.machine.Left(), int64(len(p))); n >= directBytes {
				return c.fillDirect(ctx, p[:n])
			}
		}
		if _, err := c.next(ctx); err != nil {
			return 0, err
		}
	}
}

// fillDirect reads into p, which must not be longer than what the machine says is left of the
// frame.
func (c *Conn) fillDirect(ctx context.Context, p []byte) (int, error) {
	data, err := c.receive(ctx, p)
	if err != nil {
		return 0, err
	}
	event, _, err := c.in.machine.Next(data)
	if err != nil {
		return 0, c.fail(err)
	}
	c.in.last = event.Last
	return len(data), nil
}

// receive waits for bytes from the network, and reads them into p, or into a borrowed buffer if p
// is nil.
func (c *Conn) receive(ctx context.Context, p []byte) ([]byte, error) {
	in := &c.in
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if c.corks {
		c.uncork()
	}
	began := c.setReadDeadline()
	var stop interruption
	if ctx.Done() != nil {
		stop = interrupt(ctx, c.conn.SetReadDeadline)
	}
	data, err := in.source.read(c.conn, p)
	interrupted := stop.lift()
	in.deadline = in.deadline || interrupted
	if !began.IsZero() {
		in.waited += time.Since(began)
	}
	switch {
	case len(data) > 0 || err == nil:
		return data, nil
	case err == io.EOF:
		return nil, c.lost(io.ErrUnexpectedEOF) // there was no close frame
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() && c.over() == nil {
		if interrupted {
			return nil, context.Cause(ctx)
		}
		if !began.IsZero() && in.waited >= c.messageTimeout {
			return nil, c.fail(faultSlow)
		}
		return nil, ErrIdle
	}
	return nil, c.lost(err)
}

var faultSlow = &wire.Fault{Code: ClosePolicyViolation, Reason: "message not finished in time"}

// setReadDeadline arms what bounds the next wait: SetReadIdle, and within a message what is left
// of MessageTimeout. In that case it gives the time.
func (c *Conn) setReadDeadline() (began time.Time) {
	in := &c.in
	var until time.Time
	if idle := time.Duration(c.readIdle.Load()); idle > 0 {
		until = time.Now().Add(idle)
	}
	if c.messageTimeout > 0 && in.machine.InMessage() {
		began = time.Now()
		if end := began.Add(c.messageTimeout - in.waited); until.IsZero() || end.Before(until) {
			until = end
		}
	}
	if !until.IsZero() || in.deadline {
		c.conn.SetReadDeadline(until) // if it fails, so will the read
		in.deadline = !until.IsZero()
	}
	return began
}
