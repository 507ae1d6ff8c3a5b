package websocket

import (
	"cmp"
	"math"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/duplexhq/duplex/websocket/wire"
)

const (
	defaultThreshold    = 256
	defaultContextBytes = 64 << 20
)

// Compression is how a connection uses permessage-deflate (RFC 7692), if the peer speaks it too.
// The zero value suits most.
//
// Each message is compressed on its own, unless takeover is wanted. A message that does not get
// smaller is sent as it is. Memory is borrowed while a message is compressed (about 1 MB) or received
// (70 KiB), and shared by all connections; an idle connection without takeover has none.
//
// Compression shows how much a message repeats itself to whoever sees its length. A secret should
// not go into one message with text of others, nor with takeover into one connection: see
// [Conn.WritePlain].
type Compression struct {
	// Threshold is the length in bytes below which messages are sent as they are. If zero, 256 is
	// used. If negative, there is none.
	Threshold int

	// Level is how hard to try, from 1, the fastest, to 9. If zero, 1 is used. Messages longer
	// than a window of less than 15 bits have a level of their own.
	Level int

	// ServerTakeover and ClientTakeover let what the server or the client sends refer to earlier
	// messages, if the peer agrees. Messages that are alike get much smaller, and take more time:
	// at 15 bits about 50 µs each on top. At both ends it costs as much memory as the window has,
	// as long as the connection lives.
	ServerTakeover bool
	ClientTakeover bool

	// ServerWindowBits and ClientWindowBits limit how far back what the server or the client sends
	// may refer: 8 for 256 bytes, up to 15 for 32 KiB. If zero, 15 is used. A client that cannot
	// be limited still gets its 15.
	ServerWindowBits int
	ClientWindowBits int

	// MaxContextBytes bounds the memory for takeover of all connections of this process together.
	// A connection that would pass it gets none. If zero, 64 MiB are used. If negative, there is
	// no bound.
	MaxContextBytes int64
}

// wanted gives what k asks for.
func (k *Compression) wanted() wire.Deflate {
	bits := func(n int) int {
		return min(max(cmp.Or(n, wire.MaxWindowBits), wire.MinWindowBits), wire.MaxWindowBits)
	}
	return wire.Deflate{
		ServerNoContextTakeover: !k.ServerTakeover,
		ClientNoContextTakeover: !k.ClientTakeover,
		ServerMaxWindowBits:     bits(k.ServerWindowBits),
		ClientMaxWindowBits:     bits(k.ClientWindowBits),
	}
}

// contextBudget is the memory that contexts have reserved.
type contextBudget struct{ used atomic.Int64 }

var contexts contextBudget

// reserve takes bytes, unless there would be more than limit then.
func (b *contextBudget) reserve(bytes, limit int64) bool {
	switch {
	case limit == 0:
		limit = defaultContextBytes
	case limit < 0:
		limit = math.MaxInt64
	}
	for {
		used := b.used.Load()
		if bytes > limit-used {
			return bytes == 0
		}
		if b.used.CompareAndSwap(used, used+bytes) {
			return true
		}
	}
}

// contextBytes gives the memory that takeover costs an end.
func contextBytes(agreed wire.Deflate) (bytes int64) {
	for _, sender := range []wire.Role{wire.Server, wire.Client} {
		if bits, takeover := agreed.Window(sender); takeover {
			bytes += 1 << bits
		}
	}
	return bytes
}

// withoutTakeover is what is wanted beyond the budget.
func withoutTakeover(d wire.Deflate) wire.Deflate {
	d.ServerNoContextTakeover, d.ClientNoContextTakeover = true, true
	return d
}

// deflate is permessage-deflate as it is agreed on for a connection, or as a client offers it. All
// its methods may be called on nil, which is a connection without it.
type deflate struct {
	params   wire.Deflate
	form     FrameForm // of what is sent
	takeover bool      // of what is sent
	history  []byte    // what the next message may refer to, if takeover; guarded by Conn.writing
	reserved int64     // of contexts
	released sync.Once
}

func newDeflate(k *Compression, params wire.Deflate, role wire.Role, reserved int64) *deflate {
	bits, takeover := params.Window(role)
	return &deflate{
		params:   params,
		form:     newFrameForm(k, bits),
		takeover: takeover,
		reserved: reserved,
	}
}

const extensionsField = "Sec-WebSocket-Extensions"

// acceptDeflate gives what a server that wants k agrees on with a client, or nil, and the value of
// the field that says so. The field of the request has been checked.
func acceptDeflate(request http.Header, k *Compression) (agreed *deflate, answer string) {
	offers, _ := wire.Extensions(request.Values(extensionsField))
	if k == nil || len(offers) == 0 {
		return nil, ""
	}
	params, extension, ok := k.wanted().Accept(offers)
	if !ok {
		return nil, ""
	}
	reserved := contextBytes(params)
	if !contexts.reserve(reserved, k.MaxContextBytes) {
		params, extension, _ = withoutTakeover(k.wanted()).Accept(offers)
		reserved = 0
	}
	return newDeflate(k, params, wire.Server, reserved), extension.String()
}

// offerDeflate gives what a client that wants k offers, or nil.
func offerDeflate(k *Compression) *deflate {
	if k == nil {
		return nil
	}
	params := k.wanted()
	reserved := contextBytes(params)
	if !contexts.reserve(reserved, k.MaxContextBytes) {
		params, reserved = withoutTakeover(params), 0
	}
	return newDeflate(k, params, wire.Client, reserved)
}

// offer puts what d offers into the header of a request.
func (d *deflate) offer(request http.Header) {
	if d != nil {
		request[extensionsField] = []string{d.params.Offer().String()}
	}
}

// agree gives what the server's answer to the offer agrees on, or nil (RFC 6455 §4.1, RFC 7692
// §7.1).
func (d *deflate) agree(response *http.Response, k *Compression) (*deflate, error) {
	answers, ok := wire.Extensions(response.Header.Values(extensionsField))
	if ok && len(answers) == 0 {
		d.release()
		return nil, nil
	}
	var params wire.Deflate
	if ok = ok && d != nil && len(answers) == 1; ok {
		params, ok = d.params.Agree(answers[0])
	}
	if !ok {
		return nil, &HandshakeError{
			Status: response.StatusCode,
			Field:  extensionsField,
			Reason: "does not answer what was offered",
		}
	}
	reserved := contextBytes(params) // no more than was reserved for the offer
	contexts.used.Add(reserved - d.reserved)
	return newDeflate(k, params, wire.Client, reserved), nil
}

// release gives back what is reserved.
func (d *deflate) release() {
	if d != nil {
		d.released.Do(func() { contexts.used.Add(-d.reserved) })
	}
}

var inflaters = sync.Pool{New: func() any { return new(wire.Inflater) }}

// inflation says how a machine reads what the peer of role sends.
func (d *deflate) inflation(role wire.Role) *wire.Inflation {
	if d == nil {
		return nil
	}
	bits, takeover := d.params.Window(1 - role)
	return &wire.Inflation{
		WindowBits: bits,
		Takeover:   takeover,
		Lend:       func() *wire.Inflater { return inflaters.Get().(*wire.Inflater) },
		Return:     func(z *wire.Inflater) { inflaters.Put(z) },
	}
}

// compresses reports whether a message of so many bytes is to be compressed.
func (d *deflate) compresses(bytes int) bool { return d != nil && d.form.compresses(bytes) }

// remember keeps of p what messages to come may refer to.
func (d *deflate) remember(p []byte) {
	if !d.takeover {
		return
	}
	window := 1 << d.form.windowBits
	p = p[max(len(p)-window, 0):]
	if keep := window - len(p); len(d.history) > keep {
		d.history = d.history[:copy(d.history, d.history[len(d.history)-keep:])]
	}
	if n := len(d.history) + len(p); n > cap(d.history) {
		d.history = append(make([]byte, 0, min(2*n, window)), d.history...)
	}
	d.history = append(d.history, p...)
}

// forget makes later messages refer to nothing so far: the peer was sent what d has not seen.
func (d *deflate) forget() {
	if d != nil {
		d.history = d.history[:0]
	}
}
