package topic

import (
	"testing"
	"unsafe"
)

// What a subscriber at rest costs is multiplied by their number. The sizes are
// the allocator's classes.
func TestSizes(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the sizes are those of 64 bits")
	}
	if size := unsafe.Sizeof(Subscriber{}); size > 144 {
		t.Errorf("a subscriber takes %d bytes", size)
	}
	if size := unsafe.Sizeof(subscription{}); size > 112 {
		t.Errorf("a subscription takes %d bytes", size)
	}
	if size := unsafe.Sizeof(lone{}); size > 256 {
		t.Errorf("a subscriber with one subscription takes %d bytes", size)
	}
}
