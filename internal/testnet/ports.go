package testnet

import (
	"testing"

	"github.com/duplexhq/duplex/internal/ports"
)

// Ports claims ports of 127.0.0.1 (see [ports.Claim]) until the test ends.
func Ports(t testing.TB, n int) []int {
	t.Helper()
	claimed := make([]int, n)
	for i := range claimed {
		claim, err := ports.Take()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { claim.Close() })
		claimed[i] = claim.Port
	}
	return claimed
}
