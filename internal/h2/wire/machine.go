package wire

import (
	"bytes"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Events are what a peer does. They are called during Receive and Fill, and may
// call the machine's methods that send.
type Events interface {
	// Request begins a stream.
	Request(s *Stream, head *Head)
	// Data is a piece of its body, valid during the call. Every byte has to be
	// given to Machine.Consume sooner or later.
	Data(s *Stream, p []byte)
	// End says that the peer has sent all, and the fields that followed the
	// body, valid during the call. It does not follow a Head that Ends.
	End(s *Stream, trailer []hpack.HeaderField)
	// Reset says that the stream is over: by the peer, or because of what the
	// peer has done.
	Reset(s *Stream, code Code)
	// Room says that a stream whose Offer was short may offer more.
	Room(s *Stream)
	// Pong answers Machine.Ping.
	Pong()
}

// A Machine is one connection.
type Machine struct {
	// Out is what is to be sent. Whoever sends it takes it away.
	Out []byte
	// Blocked says that what was taken from Out is not sent yet: no more DATA is
	// put there.
	Blocked bool

	config   *Config
	events   Events
	now      time.Duration
	glitches glitches
	failed   bool

	preface int    // bytes of it that have come
	partial []byte // a frame that is not complete
	greeted bool   // the peer's first SETTINGS came

	streams map[uint32]*Stream
	remote  int    // of them, those that the peer has begun
	last    uint32 // highest id that the peer has used
	accept  uint32 // highest id that is accepted; later ones are passed over
	pushed  uint32 // highest id that we have used
	left    bool   // the peer has sent GOAWAY
	dropped [16]uint32
	drops   int // index into dropped: streams that we have ended alone

	decoder *hpack.Decoder
	block   block
	encoder *hpack.Encoder
	encoded bytes.Buffer

	send     int32 // window for what we send
	receive  int32 // window that the peer has left
	consumed int32
	owed     int // window updates that the peer may send for nothing
	ready    ready
	early    []early

	peer struct {
		window     int32 // of new streams
		maxFrame   int
		maxStreams uint32
		push       bool
	}
}

// New begins a connection. prefaced says that the preface was read already.
// config is shared, and must not change.
func New(config *Config, events Events, prefaced bool) *Machine {
	m := &Machine{config: config, events: events, accept: maxStreamID, send: initialWindow, receive: initialWindow}
	if prefaced {
		m.preface = len(Preface)
	}
	m.peer.window, m.peer.maxFrame, m.peer.maxStreams, m.peer.push = initialWindow, MaxFrame, 1<<31, true
	m.streams = make(map[uint32]*Stream)
	m.decoder = hpack.NewDecoder(tableBytes, m.field)
	m.decoder.SetMaxStringLength(config.MaxHeaderBytes)
	m.encoder = hpack.NewEncoder(&m.encoded)
	settings := appendSetting(nil, settingMaxStreams, uint32(config.MaxStreams))
	settings = appendSetting(settings, settingWindow, uint32(config.StreamWindow))
	settings = appendSetting(settings, settingMaxFrame, MaxFrame)
	settings = appendSetting(settings, settingMaxHeaderList, uint32(config.MaxHeaderBytes))
	if !config.NoConnect {
		settings = appendSetting(settings, settingEnableConnect, 1)
	}
	settings = appendSetting(settings, settingNoPriorityTree, 1)
	m.begin(len(settings), frameSettings, 0, 0)
	m.Out = append(m.Out, settings...)
	if more := config.ConnectionWindow - initialWindow; more > 0 {
		m.sendWindowUpdate(0, more)
		m.receive += int32(more)
	}
	return m
}

// Greeted reports whether the peer has begun.
func (m *Machine) Greeted() bool { return m.greeted }

// Open is how many streams there are.
func (m *Machine) Open() int { return len(m.streams) }

// Each calls f for all streams.
func (m *Machine) Each(f func(*Stream)) {
	for _, s := range m.streams {
		f(s)
	}
}

// Close is for when the network is gone: all streams are over, and nothing more
// is sent.
func (m *Machine) Close() {
	m.failed, m.Out, m.partial = true, nil, nil
	for _, s := range m.streams {
		s.over = true
	}
	clear(m.streams)
	m.remote = 0
}

// Receive takes bytes of the peer, which it may keep none of. now is the time
// since some moment. After a fault, which is told once, nothing is received.
func (m *Machine) Receive(p []byte, now time.Duration) *Fault {
	if m.failed {
		return nil
	}
	m.now = now
	f := m.read(p)
	if f == nil && m.Blocked && len(m.Out) > m.config.MaxUnsent {
		f = fault(EnhanceYourCalm, "answers are not read")
	}
	if f != nil {
		m.Fail(f)
	}
	return f
}

// Failed reports whether there was a fault.
func (m *Machine) Failed() bool { return m.failed }

// Fail ends the connection for a reason that the machine does not know of. It
// may be called by Events.
func (m *Machine) Fail(f *Fault) {
	if !m.failed {
		m.failed, m.partial = true, nil
		m.goAway(m.last, f.Code, f.Reason)
	}
}
