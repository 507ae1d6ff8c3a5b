package wire

import (
	"bytes"
	"testing"
)

func TestMaskAtEveryPositionAndLength(t *testing.T) {
	t.Parallel()
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	for length := range 200 {
		for split := range length + 1 {
			got, want := make([]byte, length), make([]byte, length)
			for i := range got {
				got[i] = byte(i)
				want[i] = byte(i) ^ key[i%4] // §5.3, j = i MOD 4
			}
			Key(0x3d21fa37).Mask(got[:split]).Mask(got[split:])
			if !bytes.Equal(got, want) {
				t.Fatalf("length %d, split at %d: got %x, want %x", length, split, got, want)
			}
		}
	}
}
