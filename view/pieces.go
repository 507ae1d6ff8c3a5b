package view

import "sync"

// A piece is what a client must take, or send, within the time limit.
type piece [16 << 10]byte

// pieces are lent while the chunks of a batch become few writes.
var pieces = sync.Pool{New: func() any { return new(piece) }}

// A pieceWriter has chunks sent piece by piece.
type pieceWriter struct{ send func(p []byte) error }

// write sends at least once, maybe nothing.
func (w pieceWriter) write(chunks ...[]byte) error {
	if len(chunks) == 1 && len(chunks[0]) <= len(piece{}) {
		return w.send(chunks[0])
	}
	out := gathering{send: w.send}
	for _, c := range chunks {
		out.add(c)
	}
	return out.end()
}

// A gathering makes pieces of chunks.
type gathering struct {
	send func(p []byte) error
	buf  *piece // nil before the first chunk
	n    int
	err  error // of send: nothing more is sent
}

func (g *gathering) add(chunk []byte) {
	if g.buf == nil {
		g.buf = pieces.Get().(*piece)
	}
	for len(chunk) > 0 && g.err == nil {
		taken := copy(g.buf[g.n:], chunk)
		chunk, g.n = chunk[taken:], g.n+taken
		if g.n == len(g.buf) {
			g.err, g.n = g.send(g.buf[:]), 0
		}
	}
}

// end sends the rest, maybe nothing.
func (g *gathering) end() error {
	if g.buf == nil {
		return g.send(nil)
	}
	defer pieces.Put(g.buf)
	if g.err != nil {
		return g.err
	}
	return g.send(g.buf[:g.n])
}
