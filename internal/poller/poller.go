package poller

import (
	"errors"
	"time"
)

// A Handler is told what happens to a connection. Its methods are called by
// the connection's loop, one at a time, and must not block. One that panics costs
// its connection.
type Handler interface {
	// Data gives bytes that have arrived. They may be changed, but only until
	// Data returns.
	Data(c *Conn, p []byte)
	// Drained says that everything a Write had left pending was sent.
	Drained(c *Conn)
	// Alarm says that the time set by SetAlarm is over.
	Alarm(c *Conn)
	// HalfClosed says that the peer will send nothing more. What is written
	// before it returns is still sent. Then the connection ends as by Close,
	// unless HalfClosed returns true: there is more to say before Close is
	// called.
	HalfClosed(c *Conn) (goOn bool)
	// Closed says that the connection is over, and is the last call. The error
	// is net.ErrClosed after Close, Abort or Poller.Close; io.EOF if the peer
	// ended it in order; ErrIdle or ErrStalled; or what the kernel said.
	Closed(c *Conn, err error)
}

// Limits bound what a connection may use. They are read while connections use
// them, and must not be changed then.
type Limits struct {
	// WriteTimeout ends a connection with ErrStalled if bytes are pending and
	// the kernel takes none of them for so long. It takes more only once the
	// peer has acknowledged a good part of the send buffer, so a peer cannot
	// go on with a byte now and then. Zero is 30 s, negative is no limit.
	WriteTimeout time.Duration

	// CloseTimeout is how long Close waits for the peer to close its side, once
	// what was pending is sent, for which WriteTimeout holds. Then the kernel
	// goes on alone with what it still has for the peer. Zero or less is 5 s.
	CloseTimeout time.Duration

	// SendBuffer bounds what the kernel keeps for a slow peer, in bytes (it
	// doubles the value for its own use). Zero leaves it to the kernel, which
	// may take some MiB.
	SendBuffer int

	// Panicked is told when a handler, or what Do was given, has panicked. The
	// connection is reset then. If nil, the panic goes on, and ends the process.
	Panicked func(value any, stack []byte)
}

// Resolution is the grain of all time limits: none ends early, and none later
// than two grains after its time.
const Resolution = 100 * time.Millisecond

var (
	// ErrIdle ends a connection on which nothing arrived for the time set by
	// SetIdle.
	ErrIdle = errors.New("poller: nothing was received for too long")
	// ErrStalled ends a connection whose peer did not read for
	// Limits.WriteTimeout.
	ErrStalled = errors.New("poller: the peer has not read for too long")
)
