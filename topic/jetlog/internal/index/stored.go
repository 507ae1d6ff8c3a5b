package index

import (
	"math"

	"github.com/duplexhq/duplex/topic/internal/keep"
)

// An Item is an entry of the log without its content.
type Item = keep.Item[Stored]

// Stored is what an item says of its entry. It has no pointers: there are
// millions.
type Stored struct {
	Message uint64 // where the content is
	Nanos   int64  // Unix time
	topic   uint32 // its number
	size    uint32 // of the data; endSize for an end
}

// CarriedBit is set in Stored.Message of what is in the store of old entries.
const CarriedBit = 1 << 63

const endSize = math.MaxUint32

// IsEnd reports whether it is the end of its topic.
func (s *Stored) IsEnd() bool { return s.size == endSize }

// Bytes is the size of the data.
func (s *Stored) Bytes() int {
	if s.IsEnd() {
		return 0
	}
	return int(s.size)
}

// EntryOverhead is about what keeping an event takes beyond its data, on the disk
// and in memory.
const EntryOverhead = 128

// Cost is what an event counts to the bytes of the log.
func Cost(data int) int64 { return int64(data) + EntryOverhead }
