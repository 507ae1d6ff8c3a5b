package testnet

import (
	"fmt"
	"net"
	"testing"
)

// A port is its test's while nobody listens there, and anybody's afterwards.
func TestPorts(t *testing.T) {
	var ports []int
	t.Run("one", func(t *testing.T) {
		ports = Ports(t, 50)
		seen := make(map[int]bool)
		for _, port := range append(Ports(t, 50), ports...) {
			if seen[port] {
				t.Errorf("port %d is given twice", port)
			}
			seen[port] = true
		}
		for range 2 { // and again
			l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", ports[0]))
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
			if claim, err := claimPort(ports[0]); err == nil {
				claim.Close()
				t.Error("a port is claimed twice")
			}
		}
	})
	for _, port := range ports { // others may have been quicker
		if claim, err := claimPort(port); err == nil {
			claim.Close()
			return
		}
	}
	t.Error("no port is free after the test")
}
