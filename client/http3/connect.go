package http3

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// fallback is how long the first address has for itself, before one of the other
// family is tried beside it: as long as package net gives it (RFC 8305 §5).
const fallback = 300 * time.Millisecond

// connect makes a connection to HOST:PORT.
func (t *Transport) connect(ctx context.Context, address string, config *tls.Config, q *quic.Config) (*quic.Conn, error) {
	ways, err := t.lookup(ctx, address)
	if err != nil {
		return nil, err
	}
	return race(ctx, ways, func(ctx context.Context, to netip.AddrPort) (*quic.Conn, error) {
		return t.connectTo(ctx, to, config, q)
	}, func(late *quic.Conn) {
		_ = late.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") // it may have ended
	})
}

// race goes the first way and, if that has failed or takes its time, the next one
// beside it. It returns what was there first, and drops what comes late. If no way
// leads anywhere, the error is that of the first.
func race[Way, Conn any](ctx context.Context, ways []Way, connect func(context.Context, Way) (Conn, error), drop func(Conn)) (conn Conn, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		way  int
		conn Conn
		err  error
	}
	outcomes := make(chan outcome, len(ways))
	begun, failed := 0, 0
	begin := func() {
		way := begun
		begun++
		// Ends with ctx at the latest.
		go func() {
			conn, err := connect(ctx, ways[way])
			outcomes <- outcome{way, conn, err}
		}()
	}
	begin()
	timer := time.NewTimer(fallback)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			if begun < len(ways) {
				begin()
				timer.Reset(fallback)
			}
		case o := <-outcomes:
			if o.err == nil {
				left := begun - failed - 1
				// Ends with the others, which are cancelled.
				go func() {
					for range left {
						if late := <-outcomes; late.err == nil {
							drop(late.conn)
						}
					}
				}()
				return o.conn, nil
			}
			if o.way == 0 {
				err = o.err
			}
			failed++
			if begun < len(ways) {
				begin()
			} else if failed == begun {
				return conn, err
			}
		}
	}
}

// lookup gives the first address of a host, and the first of the other family.
func lookup(ctx context.Context, address string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, err
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	ways := []netip.AddrPort{netip.AddrPortFrom(found[0].Unmap(), uint16(port))}
	other := slices.IndexFunc(found, func(a netip.Addr) bool { return a.Unmap().Is4() != found[0].Unmap().Is4() })
	if other > 0 {
		ways = append(ways, netip.AddrPortFrom(found[other].Unmap(), uint16(port)))
	}
	return ways, nil
}

// connectTo makes a connection, which can be used before the handshake is over.
// Each has a socket, and no id of its own: the server would use up one each time
// that the address changes, and there are few.
func (t *Transport) connectTo(ctx context.Context, to netip.AddrPort, config *tls.Config, q *quic.Config) (*quic.Conn, error) {
	open := t.Open
	if open == nil {
		open = openUDP
	}
	socket, err := open(ctx, to)
	if err != nil {
		return nil, err
	}
	conn, err := quic.DialEarly(ctx, socket, net.UDPAddrFromAddrPort(to), config, q)
	if err != nil {
		socket.Close()
		return nil, err
	}
	context.AfterFunc(conn.Context(), func() { socket.Close() })
	return conn, nil
}

// openUDP takes a port of the address's family.
func openUDP(ctx context.Context, to netip.AddrPort) (net.PacketConn, error) {
	network := "udp4"
	if to.Addr().Is6() {
		network = "udp6"
	}
	return new(net.ListenConfig).ListenPacket(ctx, network, "")
}
