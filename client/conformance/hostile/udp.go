package hostile

import (
	"errors"
	"net"
	"sync"
	"time"
)

// A relay carries the datagrams of a proxy, as a NAT does: each client has a port
// of its own on the server's side.
type relay struct {
	proxy   *Proxy
	inside  *net.UDPConn // that clients know
	running sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closed  bool
	outside map[pair]*net.UDPConn
}

// A pair is a client and the server that it is led to.
type pair struct{ client, server string }

// longest is more than any datagram of QUIC has.
const longest = 1 << 16 // bytes

func newRelay(p *Proxy, inside *net.UDPConn) *relay {
	r := &relay{proxy: p, inside: inside, outside: make(map[pair]*net.UDPConn)}
	// Ends with the socket. Joined by close.
	r.running.Go(r.carryUp)
	return r
}

// carryUp takes what clients send.
func (r *relay) carryUp() {
	buffer := make([]byte, longest)
	for {
		n, client, err := r.inside.ReadFromUDP(buffer)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			continue
		}
		if outside, err := r.portOf(client); err == nil { // else it is lost
			r.carry(buffer[:n], func(datagram []byte) { _, _ = outside.Write(datagram) })
		}
	}
}

// portOf is the port of a client on the server's side.
func (r *relay) portOf(client *net.UDPAddr) (*net.UDPConn, error) {
	_, server := r.proxy.present()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, net.ErrClosed
	}
	key := pair{client.String(), server}
	if known := r.outside[key]; known != nil {
		return known, nil
	}
	conn, err := net.Dial("udp", server)
	if err != nil {
		return nil, err
	}
	outside := conn.(*net.UDPConn)
	r.outside[key] = outside
	// Ends with the socket. Joined by close.
	r.running.Go(func() { r.carryDown(outside, client) })
	return outside, nil
}

// carryDown takes what the server sends to a client.
func (r *relay) carryDown(outside *net.UDPConn, client *net.UDPAddr) {
	buffer := make([]byte, longest)
	for {
		n, err := outside.Read(buffer)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // nobody listens there just now
			continue
		}
		r.carry(buffer[:n], func(datagram []byte) { _, _ = r.inside.WriteToUDP(datagram, client) })
	}
}

// carry has a datagram sent as the network wants it. Any error of that is a loss.
func (r *relay) carry(datagram []byte, send func([]byte)) {
	network, _ := r.proxy.present()
	delay, through := network.Datagram(len(datagram))
	switch {
	case !through:
	case delay == 0:
		send(datagram)
	default:
		datagram = append([]byte(nil), datagram...)
		time.AfterFunc(delay, func() { send(datagram) })
	}
}

// rebind gives all clients other ports.
func (r *relay) rebind() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, outside := range r.outside {
		outside.Close()
		delete(r.outside, key)
	}
}

func (r *relay) close() {
	r.inside.Close()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.rebind()
	r.running.Wait()
}
