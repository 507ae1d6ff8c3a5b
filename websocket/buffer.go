package websocket

import "sync"

const (
	// bufferBytes is the size of the buffers that connections borrow while they read or write. An
	// idle connection has none.
	bufferBytes = 8 << 10

	// bigBufferBytes is the size of those that clients mask long payloads in.
	bigBufferBytes = 64 << 10
)

type buffer [bufferBytes]byte

type bigBuffer [bigBufferBytes]byte

var (
	buffers    = sync.Pool{New: func() any { return new(buffer) }}
	bigBuffers = sync.Pool{New: func() any { return new(bigBuffer) }}
)
