package websocket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

const (
	socksVersion      = 5
	socksNoAuth       = 0
	socksPasswordAuth = 2
	socksConnect      = 1
	socksIPv4         = 1
	socksName         = 3
	socksIPv6         = 4
)

// askSOCKS asks a SOCKS5 proxy (RFC 1928) to connect, and lets it resolve names.
func askSOCKS(conn net.Conn, proxy *url.URL, target string) error {
	address, err := socksAddress(target)
	if err != nil {
		return err
	}
	if err := socksGreet(conn, proxy.User); err != nil {
		return err
	}
	if _, err := conn.Write(append([]byte{socksVersion, socksConnect, 0}, address...)); err != nil { // §4
		return err
	}
	return readSOCKSReply(conn)
}

// socksAddress is a host and port in the form of RFC 1928 §5.
func socksAddress(target string) (address []byte, err error) {
	host, portText, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err != nil {
		if len(host) > 255 {
			return nil, errors.New("socks: host name longer than 255 bytes")
		}
		address = append([]byte{socksName, byte(len(host))}, host...)
	} else if ip.Is4() {
		address = append([]byte{socksIPv4}, ip.AsSlice()...)
	} else {
		address = append([]byte{socksIPv6}, ip.AsSlice()...)
	}
	return binary.BigEndian.AppendUint16(address, uint16(port)), nil
}

// socksGreet offers the methods that we have, and authenticates by the one that
// is chosen (RFC 1928 §3).
func socksGreet(conn net.Conn, user *url.Userinfo) error {
	greeting := []byte{socksVersion, 1, socksNoAuth}
	if user != nil {
		greeting = []byte{socksVersion, 2, socksNoAuth, socksPasswordAuth}
	}
	if _, err := conn.Write(greeting); err != nil {
		return err
	}
	var chosen [2]byte
	if _, err := io.ReadFull(conn, chosen[:]); err != nil {
		return err
	}
	switch {
	case chosen == [2]byte{socksVersion, socksNoAuth}:
		return nil
	case chosen == [2]byte{socksVersion, socksPasswordAuth} && user != nil:
		return socksPassword(conn, user)
	}
	return errors.New("socks: no way to authenticate")
}

// readSOCKSReply reads the reply (RFC 1928 §6), which ends with an address of the
// proxy's.
func readSOCKSReply(conn net.Conn) error {
	var reply [5]byte // as far as the first byte of the address
	if _, err := io.ReadFull(conn, reply[:]); err != nil {
		return err
	}
	if reply[0] != socksVersion || reply[1] != 0 {
		return fmt.Errorf("socks: connect refused (%d)", reply[1])
	}
	rest := 0
	switch reply[3] {
	case socksIPv4:
		rest = 4 - 1 + 2
	case socksIPv6:
		rest = 16 - 1 + 2
	case socksName:
		rest = int(reply[4]) + 2
	default:
		return errors.New("socks: reply of an unknown form")
	}
	_, err := io.CopyN(io.Discard, conn, int64(rest))
	return err
}

// socksPassword authenticates by RFC 1929.
func socksPassword(conn net.Conn, user *url.Userinfo) error {
	name := user.Username()
	password, _ := user.Password()
	if len(name) > 255 || len(password) > 255 {
		return errors.New("socks: user or password longer than 255 bytes")
	}
	message := append([]byte{1, byte(len(name))}, name...)
	message = append(message, byte(len(password)))
	message = append(message, password...)
	if _, err := conn.Write(message); err != nil {
		return err
	}
	var status [2]byte
	if _, err := io.ReadFull(conn, status[:]); err != nil {
		return err
	}
	if status[1] != 0 {
		return errors.New("socks: user or password refused")
	}
	return nil
}
