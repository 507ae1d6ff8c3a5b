package websocket

import (
	"slices"
	"sync"
)

const (
	// bufferBytes is the size of the buffers that connections borrow while they read or write. An
	// idle connection has none.
	bufferBytes = 8 << 10

	// bigBufferBytes is the size of those for what is long: 64 KiB with their header, and whole pages.
	bigBufferBytes = 72 << 10
)

type buffer [bufferBytes]byte

type bigBuffer [bigBufferBytes]byte

var (
	buffers    = sync.Pool{New: func() any { return new(buffer) }}
	bigBuffers = sync.Pool{New: func() any { return new(bigBuffer) }}
)

// copied is bytes in memory that is borrowed, unless they are too many.
type copied struct {
	b     []byte
	small *buffer
	big   *bigBuffer
}

func copyOf(p []byte) copied {
	switch {
	case len(p) <= bufferBytes:
		small := buffers.Get().(*buffer)
		return copied{b: append(small[:0], p...), small: small}
	case len(p) <= bigBufferBytes:
		big := bigBuffers.Get().(*bigBuffer)
		return copied{b: append(big[:0], p...), big: big}
	}
	return copied{b: slices.Clone(p)}
}

func (c copied) free() {
	if c.small != nil {
		buffers.Put(c.small)
	}
	if c.big != nil {
		bigBuffers.Put(c.big)
	}
}
