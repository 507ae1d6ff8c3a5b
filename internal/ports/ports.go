// Package ports gives ports to programs that cannot take a free one and tell it,
// or that end and begin again where they were.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
)

// A Claim is a port of 127.0.0.1 that is its holder's until Close, also while
// nobody listens there: no other Claim has it, in any process of this machine,
// and the kernel takes it neither for a listener at port 0 nor for an outgoing
// connection.
type Claim struct {
	Port   int
	socket net.Listener // of Linux's abstract names, where it is in nobody's way
}

// Take claims a port.
func Take() (*Claim, error) {
	from, to := unassigned()
	for range 1000 {
		claim, err := take(from + rand.IntN(to-from))
		if !errors.Is(err, syscall.EADDRINUSE) {
			return claim, err
		}
	}
	return nil, fmt.Errorf("no free port from %d to %d", from, to)
}

func take(port int) (*Claim, error) {
	socket, err := net.Listen("unix", fmt.Sprint("@duplex-port-", port))
	if err != nil {
		return nil, err
	}
	// Who knows nothing of claims may be there.
	l, err := net.Listen("tcp4", fmt.Sprint(":", port))
	if err != nil {
		socket.Close()
		return nil, err
	}
	l.Close()
	return &Claim{port, socket}, nil
}

// Address is the port's on this machine.
func (c *Claim) Address() string { return fmt.Sprint("127.0.0.1:", c.Port) }

// Close gives the port back.
func (c *Claim) Close() error { return c.socket.Close() }

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
