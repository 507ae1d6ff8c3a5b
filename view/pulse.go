package view

import (
	"net"
	"net/http"
	"time"

	"github.com/duplexhq/duplex/internal/poller"
)

// patience is the time between two looks at what the system of a peer has
// acknowledged. A packet that is lost is sent again within a second or two. One
// that is out of reach is noticed within one and a half intervals of $ping: the
// next one goes out to it within one, and two looks lie within half of one.
func (h *Handler) patience() time.Duration { return max(h.opts.Ping/4, 2*time.Second) }

// silent reports whether a peer has acknowledged nothing for as long, although it
// should have.
func (h *Handler) silent(last time.Duration) bool {
	return last > h.patience()*4/5 // looks are not exact
}

// A pulse looks at the peer of an answer that has a goroutine of its own. A nil
// *pulse does not.
type pulse struct {
	handler *Handler
	conn    net.Conn
	ticker  *time.Ticker
	unacked bool // there was something, when it looked before
}

// pulse is for HTTP/1.1, over TLS too: a kernel takes what is written for a peer
// that is gone until its buffer is full. HTTP/2 and above ask the peer.
func (h *Handler) pulse(w http.ResponseWriter, r *http.Request) *pulse {
	if h.opts.Ping <= 0 || r.ProtoMajor != 1 {
		return nil
	}
	conn, _ := h.lease(w, r)
	if conn == nil {
		return nil
	}
	if below, ok := conn.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		conn = below.NetConn()
	}
	if _, _, ok := poller.Acknowledged(conn); !ok {
		return nil
	}
	return &pulse{handler: h, conn: conn, ticker: time.NewTicker(h.patience())}
}

// due is when to look.
func (p *pulse) due() <-chan time.Time {
	if p == nil {
		return nil
	}
	return p.ticker.C
}

// gone reports whether the peer is dead or out of reach.
func (p *pulse) gone() bool {
	all, last, ok := poller.Acknowledged(p.conn)
	gone := ok && !all && p.unacked && p.handler.silent(last)
	p.unacked = !all
	return gone
}

func (p *pulse) stop() {
	if p != nil {
		p.ticker.Stop()
	}
}
