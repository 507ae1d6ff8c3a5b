package h2

import (
	"cmp"
	"io"
	"log"
	"time"

	"github.com/duplexhq/duplex/internal/h2/wire"
)

// Options bound what connections may cost. Zero fields have the defaults that
// they name.
type Options struct {
	// MaxStreams bounds the requests at once of one connection, and the handlers
	// that run for it: 32 while it takes nothing. Four times as many may wait for a
	// handler to return; who has more started loses the connection. Default 250.
	MaxStreams int
	// MaxHeaderBytes bounds the fields of a request, each with 32 bytes of
	// overhead. Beyond it the answer is 431; a single field beyond it, or twice
	// as much on the wire, ends the connection. Default 64 KiB.
	MaxHeaderBytes int
	// StreamWindow and ConnectionWindow bound the bytes of bodies that nobody
	// has read yet. Default 256 KiB and 1 MiB.
	StreamWindow, ConnectionWindow int
	// MaxGlitches ends a connection that has sent so many frames which bring
	// nothing (see wire.Config), of which GlitchesPerSecond are forgiven.
	// Default 1,000 and 200.
	MaxGlitches, GlitchesPerSecond int
	// MaxUnsent bounds the answers that wait for a client which makes the server
	// answer but reads nothing. Default 256 KiB.
	MaxUnsent int
	// GreetTimeout is for a client's first frame. Default 10 s.
	GreetTimeout time.Duration
	// IdleTimeout ends a connection without requests. Default 2 min.
	IdleTimeout time.Duration
	// Ping asks a client that has been silent for so long whether it is there.
	// Default 25 s.
	Ping time.Duration
	// PingTimeout is for its answer. Default 15 s.
	PingTimeout time.Duration
	// WriteTimeout ends a stream of whose answer nothing could be sent for so
	// long, and a connection that takes nothing at all. Default 1 min.
	WriteTimeout time.Duration
	// NoWebSockets does not offer extended CONNECT (RFC 8441).
	NoWebSockets bool
	// ErrorLog is told of panics. Default: silent.
	ErrorLog *log.Logger
}

func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	d.MaxStreams = cmp.Or(d.MaxStreams, 250)
	d.MaxHeaderBytes = cmp.Or(d.MaxHeaderBytes, 64<<10)
	d.StreamWindow = cmp.Or(d.StreamWindow, 256<<10)
	d.ConnectionWindow = cmp.Or(d.ConnectionWindow, 1<<20)
	d.MaxGlitches = cmp.Or(d.MaxGlitches, 1000)
	d.GlitchesPerSecond = cmp.Or(d.GlitchesPerSecond, 200)
	d.MaxUnsent = cmp.Or(d.MaxUnsent, 256<<10)
	d.GreetTimeout = cmp.Or(d.GreetTimeout, 10*time.Second)
	d.IdleTimeout = cmp.Or(d.IdleTimeout, 2*time.Minute)
	d.Ping = cmp.Or(d.Ping, 25*time.Second)
	d.PingTimeout = cmp.Or(d.PingTimeout, 15*time.Second)
	d.WriteTimeout = cmp.Or(d.WriteTimeout, time.Minute)
	d.ErrorLog = cmp.Or(d.ErrorLog, log.New(io.Discard, "", 0))
	return d
}

func (o *Options) wire() *wire.Config {
	return &wire.Config{
		MaxStreams:        o.MaxStreams,
		MaxHeaderBytes:    o.MaxHeaderBytes,
		StreamWindow:      o.StreamWindow,
		ConnectionWindow:  o.ConnectionWindow,
		MaxGlitches:       o.MaxGlitches,
		GlitchesPerSecond: o.GlitchesPerSecond,
		MaxUnsent:         o.MaxUnsent,
		NoConnect:         o.NoWebSockets,
		Grow:              growOut,
	}
}
