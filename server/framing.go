package server

import (
	"bytes"
	"net"
	"net/http"
	"sync/atomic"
)

// A watchedConn is a plain connection while net/http has it. It knows whether there
// may be two opinions about where the body of a request ends, which a proxy and we
// could have: net/http takes one, and leaves no trace of the other in the header.
// "The server MUST close the connection after responding to such a request" (RFC
// 9112 §6.1).
//
// It counts the lines that begin with the names of the two fields, in whatever is
// read, and each request accounts for those that it shows. As long as none is left
// over, the request that is being served had no other.
type watchedConn struct {
	net.Conn
	length, coding watchedField
}

// ambiguous reports whether there may be two opinions about the body of a request.
// Every request is to be shown to it. Where nothing is watched (c is nil), that may
// be so for all with chunks.
func (c *watchedConn) ambiguous(r *http.Request) bool {
	chunks := len(r.TransferEncoding) > 0
	if c == nil {
		return chunks
	}
	if chunks {
		c.coding.shown++
	} else if r.Header["Content-Length"] != nil {
		c.length.shown++
	}
	// HTTP/1.0 has no chunks, so whoever sent it such a field did not know that.
	return chunks && c.length.hidden() || !r.ProtoAtLeast(1, 1) && c.coding.hidden()
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.length.watch("\ncontent-length", p[:n])
	c.coding.watch("\ntransfer-encoding", p[:n])
	return n, err
}

// CloseWrite is for net/http, when it has more to say than to hear.
func (c *watchedConn) CloseWrite() error {
	if tcp, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return tcp.CloseWrite()
	}
	return nil
}

// NetConn is the connection for who takes it from net/http.
func (c *watchedConn) NetConn() net.Conn { return c.Conn }

// unwatched is the connection itself.
func unwatched(conn net.Conn) net.Conn {
	if c, ok := conn.(*watchedConn); ok {
		return c.Conn
	}
	return conn
}

// A watchedField counts the lines of a header field.
type watchedField struct {
	matched int          // bytes of such a line that were read last
	read    atomic.Int64 // lines; net/http reads ahead while it serves
	shown   int64        // lines; of whoever serves
}

func (f *watchedField) hidden() bool { return f.read.Load() > f.shown }

// watch takes what was read. A line is the end of the one before, which no request
// begins with, and the name in lower case.
func (f *watchedField) watch(line string, p []byte) {
	for len(p) > 0 {
		if f.matched == 0 {
			i := bytes.IndexByte(p, '\n')
			if i < 0 {
				return
			}
			p, f.matched = p[i+1:], 1
			continue
		}
		letter := p[0]
		if 'A' <= letter && letter <= 'Z' {
			letter += 'a' - 'A'
		}
		if letter != line[f.matched] {
			f.matched = 0 // and the byte may begin another
			continue
		}
		p = p[1:]
		if f.matched++; f.matched == len(line) {
			f.matched = 0
			f.read.Add(1)
		}
	}
}
