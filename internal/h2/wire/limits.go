package wire

import "time"

// A Config bounds what a connection may cost. All numbers must be set.
type Config struct {
	// MaxStreams is how many requests may be in progress. What comes beyond it
	// is refused.
	MaxStreams int
	// MaxHeaderBytes bounds the fields of a request, each with 32 bytes of
	// overhead (RFC 9113 §6.5.2). Beyond it, a request is TooLarge; a single
	// field beyond it, or twice as much on the wire, ends the connection.
	MaxHeaderBytes int
	// StreamWindow and ConnectionWindow are how many bytes of bodies are taken
	// that nobody has read yet. At least 65,535 for the connection.
	StreamWindow, ConnectionWindow int
	// MaxGlitches ends a connection with ENHANCE_YOUR_CALM that has sent so many
	// frames which cost something and bring nobody anything: resets, refused
	// and faulty requests, pings, settings, priorities, empty frames, frames
	// that are unknown, window updates that answer no DATA. GlitchesPerSecond
	// are forgiven.
	MaxGlitches, GlitchesPerSecond int
	// MaxUnsent ends a connection that makes the server answer but does not read
	// the answers: it bounds the bytes of Out while it is Blocked.
	MaxUnsent int
	// NoConnect does not offer extended CONNECT (RFC 8441).
	NoConnect bool
	// Grow gives Out, which may be nil, the capacity for so many bytes more.
	// It must be set, as slices.Grow.
	Grow func(out []byte, more int) []byte
}

const (
	// maxOut is how much DATA gathers in Out before it has to leave.
	maxOut = 64 << 10
	// windowUpdatesPerData are those that a frame of DATA may be answered with:
	// one for its stream, one for the connection.
	windowUpdatesPerData = 2
	// maxOwed bounds the window updates that DATA has earned.
	maxOwed = 4096
	// maxEarly bounds the priorities that are kept of streams to come.
	maxEarly = 32
	// tableBytes bounds the dynamic table of HPACK in both directions.
	tableBytes = 4096
)

// glitches are forgiven as time passes.
type glitches struct {
	count int
	since time.Duration
}

// glitch counts one, and tells when there were too many.
func (m *Machine) glitch() *Fault {
	g := &m.glitches
	if g.count > 0 {
		perSecond := time.Duration(m.config.GlitchesPerSecond)
		if forgiven := (m.now - g.since) * perSecond / time.Second; forgiven > 0 {
			g.count = max(g.count-int(min(forgiven, 1<<30)), 0)
			g.since += forgiven * time.Second / perSecond
		}
	}
	if g.count == 0 {
		g.since = m.now
	}
	if g.count++; g.count > m.config.MaxGlitches {
		return fault(EnhanceYourCalm, "too many frames that bring nothing")
	}
	return nil
}
