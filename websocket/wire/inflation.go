package wire

// Inflation says how a [Machine] reads compressed messages (RFC 7692 §7.2.2): those whose first
// frame has RSV1. They come out as they were before compression; limits and the check of text are
// for that, and hold while it is inflated.
type Inflation struct {
	// WindowBits is how far back compressed data may refer, as agreed: 8 to 15. What refers
	// further is not valid.
	WindowBits int

	// Takeover lets a message refer to those before. It costs up to a window of memory, for as
	// long as the machine lives.
	Takeover bool

	// Lend gives the memory for a message, and Return takes it back at its end.
	Lend   func() *Inflater
	Return func(*Inflater)
}

// inflation is a machine's part that inflates.
type inflation struct {
	Inflation
	inflater *Inflater // lent for the message, or nil
	ended    bool      // the message has ended: the inflater holds no more than its last chunk
	clear    int       // bytes at the front of the input that are unmasked already
	size     int64     // of the message, inflated so far
	history  []byte    // what a message may refer to, if Takeover
}

// begin borrows what a compressed message needs.
func (z *inflation) begin() {
	z.inflater = z.Lend()
	z.inflater.begin(1<<z.WindowBits, z.history)
	z.ended, z.clear, z.size = false, 0, 0
}

// settle gives back what a message has borrowed, once its last chunk was taken.
func (z *inflation) settle() {
	if z.inflater == nil || !z.ended {
		return
	}
	if z.Takeover {
		recent := z.inflater.recent()
		if len(recent) > cap(z.history) {
			z.history = make([]byte, 0, min(2*len(recent), 1<<z.WindowBits))
		}
		z.history = append(z.history[:0], recent...)
	}
	z.Return(z.inflater)
	z.inflater = nil
}

// fresh reports whether nothing is borrowed, nor to be referred to. z may be nil.
func (z *inflation) fresh() bool { return z == nil || z.inflater == nil && len(z.history) == 0 }

// pending reports whether there may be more of the message without more input.
func (z *inflation) pending() bool { return z.inflater.full() }

// inflate does as take for a frame of a compressed message: it gives what comes of payload, and
// how much of that was used. What comes before a fault is given with it.
func (m *Machine) inflate(payload []byte) (out []byte, used int, fault *Fault) {
	z := m.inflation
	if m.frame.Masked {
		m.key = m.key.Mask(payload[z.clear:])
	}
	out, used, ok := z.inflater.inflate(payload)
	if room := m.limit - z.size; int64(len(out)) > room {
		return out[:max(room, 0)], used, faultTooBig
	}
	if !ok {
		return out, used, faultDeflate
	}
	z.size += int64(len(out))
	z.clear = len(payload) - used
	m.left -= int64(used)
	m.inFrame = m.left > 0 || z.pending()
	if m.frame.Fin && !m.inFrame {
		if !z.inflater.complete() {
			return out, used, faultDeflateEnd
		}
		z.ended = true
	}
	return out, used, nil
}

// compressedLimit bounds the payload of compressed messages that may have limit bytes once they are
// inflated. What does not shrink grows a little: by 5 bytes for each block.
func compressedLimit(limit int64) int64 {
	return limit + min(limit/64+64, maxLimit-limit)
}
