package testnet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
)

// Ports gives ports of 127.0.0.1, for programs that cannot take a free one and
// tell it, or that end and begin again where they were. They are the caller's
// until the test ends, also while nobody listens there: no other caller of
// Ports is given them, in any process of this machine, and the kernel takes
// none of them for a listener at port 0 or an outgoing connection.
func Ports(t testing.TB, n int) []int {
	t.Helper()
	from, to := unassigned()
	var ports []int
	for tries := 0; len(ports) < n; tries++ {
		if tries > 1000+n {
			t.Fatalf("no free ports from %d to %d", from, to)
		}
		port := from + rand.IntN(to-from)
		claim, err := claimPort(port)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { claim.Close() })
		ports = append(ports, port)
	}
	return ports
}

// claimPort takes a port for as long as the claim is open. The claim itself is a
// socket of Linux's abstract names, where it is in nobody's way.
func claimPort(port int) (net.Listener, error) {
	claim, err := net.Listen("unix", fmt.Sprint("@duplex-port-", port))
	if err != nil {
		return nil, err
	}
	// Who knows nothing of claims may be there.
	l, err := net.Listen("tcp4", fmt.Sprint(":", port))
	if err != nil {
		claim.Close()
		return nil, err
	}
	l.Close()
	return claim, nil
}

// unassigned is a range of ports below those that the kernel assigns. Browsers
// connect to any of it.
func unassigned() (from, to int) {
	to = 32768
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &to) // else it stays
	}
	const unsafe = 10_080 // the highest below 32768 that browsers refuse
	if to <= unsafe+1000 {
		to = 32768 // there are hardly any others: the claims have to do
	}
	return max(unsafe+1, to-20_000), to
}
