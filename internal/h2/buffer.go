package h2

import "sync"

// What is to be sent lies in a buffer that is borrowed for as long: a small one
// for an event or an answer, a large one for what many streams are given.
type (
	smallOut [2 << 10]byte
	largeOut [96 << 10]byte
)

var (
	smallOuts = sync.Pool{New: func() any { return new(smallOut) }}
	largeOuts = sync.Pool{New: func() any { return new(largeOut) }}
)

// growOut is wire.Config.Grow.
func growOut(out []byte, more int) (grown []byte) {
	switch need := len(out) + more; {
	case need <= len(smallOut{}):
		grown = smallOuts.Get().(*smallOut)[:0]
	case need <= len(largeOut{}):
		grown = largeOuts.Get().(*largeOut)[:0]
	default:
		grown = make([]byte, 0, 2*need)
	}
	grown = append(grown, out...)
	freeOut(out)
	return grown
}

func freeOut(out []byte) {
	switch cap(out) {
	case len(smallOut{}):
		smallOuts.Put((*smallOut)(out[:cap(out)]))
	case len(largeOut{}):
		largeOuts.Put((*largeOut)(out[:cap(out)]))
	}
}

// An answerBuffer gathers small writes of a handler.
type answerBuffer [4 << 10]byte

var answerBuffers = sync.Pool{New: func() any { return new(answerBuffer) }}
