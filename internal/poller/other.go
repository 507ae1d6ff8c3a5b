//go:build !linux

package poller

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"time"
)

// Poller exists on Linux only.
type Poller struct{}

// New fails.
func New(int) (*Poller, error) { return nil, errors.ErrUnsupported }

// Adoptable reports false.
func Adoptable(net.Conn) bool { return false }

// Adopt fails, and leaves the connection alone.
func Adopt(net.Conn, Handler, *Limits, []byte) (*Conn, error) { return nil, errors.ErrUnsupported }

// Prepare fails.
func Prepare(net.Conn) (*Spare, error) { return nil, errors.ErrUnsupported }

// Spare exists on Linux only: nobody can have one.
type Spare struct{}

// Release does nothing.
func (*Spare) Release() {}

// Adopt fails.
func (*Spare) Adopt(Handler, *Limits, []byte) (*Conn, error) { return nil, errors.ErrUnsupported }

// Close does nothing.
func (*Poller) Close() {}

// Adopt fails, and leaves the connection alone.
func (*Poller) Adopt(net.Conn, Handler, *Limits, []byte) (*Conn, error) {
	return nil, errors.ErrUnsupported
}

// Conn exists on Linux only: nobody can have one, so its methods do nothing.
type Conn struct{}

func (*Conn) Start() error                                          { return errors.ErrUnsupported }
func (*Conn) Pause([]byte)                                          {}
func (*Conn) Resume()                                               {}
func (*Conn) SetIdle(time.Duration)                                 {}
func (*Conn) SetAlarm(time.Duration)                                {}
func (*Conn) Do(func())                                             {}
func (*Conn) Write(...[]byte) (int, error)                          { return 0, errors.ErrUnsupported }
func (*Conn) WriteLent(...[]byte) (int, error)                      { return 0, errors.ErrUnsupported }
func (*Conn) Detach([]byte) (net.Conn, error)                       { return nil, errors.ErrUnsupported }
func (*Conn) LocalAddr() netip.AddrPort                             { return netip.AddrPort{} }
func (*Conn) RemoteAddr() netip.AddrPort                            { return netip.AddrPort{} }
func (*Conn) Acknowledged() (bool, time.Duration)                   { return true, 0 }
func Acknowledged(net.Conn) (all bool, last time.Duration, ok bool) { return true, 0, false }

// Yield is runtime.Gosched.
func Yield() { runtime.Gosched() }

func (*Conn) Close() {}
func (*Conn) Abort() {}
