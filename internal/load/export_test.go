//go:build linux

package load

import (
	"testing"
	"time"
)

// SetStaleAfter is for a test whose connections are stale sooner.
func SetStaleAfter(t *testing.T, d time.Duration) {
	before := staleAfter
	staleAfter = d
	t.Cleanup(func() { staleAfter = before })
}
