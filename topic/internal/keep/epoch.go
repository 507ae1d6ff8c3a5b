package keep

import (
	"crypto/rand"
	"encoding/binary"
)

const epochBits = 40 // keeps ids short

// NewEpoch returns an epoch that no other log has.
func NewEpoch() uint64 {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails
		if epoch := binary.NativeEndian.Uint64(b[:]) >> (64 - epochBits); epoch != 0 {
			return epoch
		}
	}
}
