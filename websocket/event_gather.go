package websocket

import "slices"

// gathered is a message that comes in pieces. Its memory follows what has arrived: up to 8 KiB its
// own, up to 72 KiB borrowed, then its own again.
type gathered struct {
	b   []byte
	big *bigBuffer // borrowed, and what b lies in; or nil
}

// add appends a piece, of which ahead more bytes are announced.
func (g *gathered) add(p []byte, ahead int64) {
	size := len(g.b) + len(p)
	if size > cap(g.b) {
		switch {
		case size > bigBufferBytes:
			// No more than what is to come of the frame, but a little if that is all.
			more := max(int(min(ahead, int64(size))), size/4)
			grown := append(make([]byte, 0, size+more), g.b...)
			g.free()
			g.b = grown
		case size > bufferBytes:
			big := bigBuffers.Get().(*bigBuffer)
			g.b, g.big = append(big[:0], g.b...), big
		default:
			g.b = slices.Grow(g.b, len(p))
		}
	}
	g.b = append(g.b, p...)
}

// free forgets the message.
func (g *gathered) free() {
	if g.big != nil {
		bigBuffers.Put(g.big)
	}
	*g = gathered{}
}
