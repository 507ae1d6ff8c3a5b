package server

import "testing"

// Whatever the limits are, the log and whatever else is left their files.
func TestConnectionLimits(t *testing.T) {
	for _, tt := range []struct{ files, wanted, limit, refused int }{
		{0, 0, 0, 1000}, {0, 5, 5, 1000}, // nobody knows
		{64, 0, 7, 1}, {256, 0, 154, 22}, {1024, 0, 784, 112}, {20_000, 0, 18_488, 1000}, {1 << 20, 0, 1<<20 - 1512, 1000},
		{1024, 10, 10, 886}, {1024, 800, 784, 112}, {20_000, 100, 100, 1000},
	} {
		if limit, refused := connectionLimits(tt.files, tt.wanted); limit != tt.limit || refused != tt.refused {
			t.Errorf("%d files, %d wanted: %d and %d, want %d and %d", tt.files, tt.wanted, limit, refused, tt.limit, tt.refused)
		}
	}
	if openFiles() < 64 {
		t.Errorf("%d files", openFiles())
	}
}
