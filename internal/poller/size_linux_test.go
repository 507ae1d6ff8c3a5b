package poller

import (
	"testing"
	"unsafe"
)

// A connection at rest costs no more than this: it is a size class of the allocator.
func TestConnIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Conn{}); size > 112 && unsafe.Sizeof(uintptr(0)) == 8 {
		t.Errorf("%d bytes", size)
	}
}
