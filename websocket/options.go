package websocket

import "time"

const (
	defaultReadLimit      = 1 << 20
	defaultMessageTimeout = 2 * time.Minute
	defaultCloseTimeout   = 5 * time.Second

	// controlTimeout bounds the sending of a pong, so that a peer that sends pings and reads
	// nothing cannot hold up a reader for longer.
	controlTimeout = 10 * time.Second
)

// Options of a connection, whichever side began it.
type Options struct {
	// ReadLimit bounds a received message in bytes. A longer one closes the connection with
	// CloseTooBig, as soon as a header announces it, or, of a compressed one, while it is inflated.
	// If zero, 1 MiB is used. If negative, there is no limit.
	ReadLimit int64

	// MessageTimeout bounds how long reads wait for the rest of a message that has begun, all of
	// them together. After it the connection is closed with ClosePolicyViolation. If zero, 2
	// minutes are used. If negative, there is no limit.
	MessageTimeout time.Duration

	// WriteTimeout bounds each write to the network. When it is over, the connection is lost:
	// part of a frame may be on its way. If zero or negative, only the context of a call bounds
	// it.
	WriteTimeout time.Duration

	// CloseTimeout bounds the closing handshake. If zero or negative, 5 seconds are used: see
	// Conn.CloseNow for an end without waiting.
	CloseTimeout time.Duration

	// Compression, if not nil, lets messages be compressed. If nil, no extension is negotiated.
	Compression *Compression

	// Keepalive sends pings at intervals and ends the connection of a peer that does not answer
	// them.
	Keepalive Keepalive

	// Observe, if not nil, is told of every frame, in order for each direction. It runs on the
	// goroutine that reads or writes the frame: it must not block, nor use the connection.
	Observe func(FrameEvent)

	// Cork lets messages leave together. While the reader has been given only some of what has
	// arrived, messages of up to 8 KiB in all are kept, and leave in one write when a read has to
	// wait. It is for a goroutine that answers what it reads and goes on reading: if it stops,
	// what is kept stays. An error of the network is told by the next call.
	Cork bool

	deflate *deflate // what the handshake agreed on
}

func (o Options) withDefaults() Options {
	if o.ReadLimit == 0 {
		o.ReadLimit = defaultReadLimit
	}
	if o.MessageTimeout == 0 {
		o.MessageTimeout = defaultMessageTimeout
	}
	if o.CloseTimeout <= 0 {
		o.CloseTimeout = defaultCloseTimeout
	}
	if o.Keepalive.Timeout <= 0 {
		o.Keepalive.Timeout = o.Keepalive.Interval
	}
	return o
}
