package ports

import (
	"net"
	"testing"
)

// A port is its holder's while nobody listens there, and anybody's afterwards.
func TestTake(t *testing.T) {
	var claims []*Claim
	seen := make(map[int]bool)
	for range 100 {
		claim, err := Take()
		if err != nil {
			t.Fatal(err)
		}
		defer claim.Close()
		if seen[claim.Port] {
			t.Errorf("port %d is given twice", claim.Port)
		}
		seen[claim.Port] = true
		claims = append(claims, claim)
	}
	for range 2 { // and again
		l, err := net.Listen("tcp", claims[0].Address())
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		if again, err := take(claims[0].Port); err == nil {
			again.Close()
			t.Error("a port is claimed twice")
		}
	}
	for _, claim := range claims { // others may be quicker
		if err := claim.Close(); err != nil {
			t.Fatal(err)
		}
		if again, err := take(claim.Port); err == nil {
			again.Close()
			return
		}
	}
	t.Error("no port is free again")
}
