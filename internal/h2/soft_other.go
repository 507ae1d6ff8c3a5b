//go:build !linux

package h2

import (
	"net"
	"time"
)

// Soften exists on Linux only.
func Soften(nc net.Conn) net.Conn { return nc }

type softConn struct{ net.Conn }

func (*softConn) soften(time.Duration, func()) {}
func (*softConn) cork()                        {}
func (*softConn) uncork() (left bool)          { return false }
