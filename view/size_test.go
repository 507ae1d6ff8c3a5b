package view

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
	for name, size := range map[string]struct{ is, most uintptr }{
		"a WebSocket":                {unsafe.Sizeof(rawSocket{}), 96},
		"a WebSocket with duplex.v1": {unsafe.Sizeof(multiSocket{}), 112},
		"a stream":                   {unsafe.Sizeof(polledStream{}), 80},
	} {
		if size.is > size.most {
			t.Errorf("%s takes %d bytes, more than %d", name, size.is, size.most)
		}
	}
}
