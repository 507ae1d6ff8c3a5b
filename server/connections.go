package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
)

// mostRefused is how many connections beyond the limit are answered with a
// 503 at the same time. What comes beyond that is closed without an answer.
const mostRefused = 1000

// connectionLimits are how many connections there may be, and how many beyond that
// may be told so, in a process that may have some files open: a log that cannot open
// its own fails for good. wanted is Config.MaxConnections.
func connectionLimits(files, wanted int) (limit, refused int) {
	if files <= 0 {
		return wanted, mostRefused
	}
	room := max(files-64-min(files/16, 448), 8)
	if limit = room - min(room/8, mostRefused); wanted > 0 {
		limit = min(limit, wanted)
	}
	return limit, min(room-limit, mostRefused)
}

// connections counts the connections of all listeners, those that were taken
// from net/http too.
type connections struct {
	limit       int // 0 is none
	mostRefused int // beyond it

	mu       sync.Mutex
	open     int                      // without the refused; guarded by mu
	refused  map[io.Closer]struct{}   // beyond the limit; guarded by mu
	returned map[net.Conn]*connection // on their way back to net/http; guarded by mu
}

// A connection is what its requests know of it.
type connection struct {
	conn     net.Conn // nil over HTTP/3
	endpoint *endpoint
	remote   string       // IP:PORT as a proxy has told it, or empty
	refused  bool         // beyond the limit
	watched  *watchedConn // nil over TLS and HTTP/3
}

// Keys of what a context holds.
type (
	listenerKey   struct{} // net.Listener: an *endpoint, or *returns
	connectionKey struct{} // *connection
)

func connectionOf(ctx context.Context) *connection { return ctx.Value(connectionKey{}).(*connection) }

// accepted is the http.Server's ConnContext.
func (c *connections) accepted(ctx context.Context, conn net.Conn) context.Context {
	watched, _ := conn.(*watchedConn)
	conn = unwatched(conn)
	state := c.comesBack(conn)
	if state == nil {
		e := ctx.Value(listenerKey{}).(*endpoint)
		state = &connection{conn: conn, endpoint: e, remote: e.remote, refused: !c.enter(conn)}
	}
	state.watched = watched
	return context.WithValue(ctx, connectionKey{}, state)
}

// comesBack gives what is known of a connection that net/http had before, or
// nil.
func (c *connections) comesBack(conn net.Conn) *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := c.returned[conn]
	delete(c.returned, conn)
	return state
}

// giveBack announces a connection that net/http is to have again.
func (c *connections) giveBack(conn net.Conn, e *endpoint, remote string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.returned == nil {
		c.returned = make(map[net.Conn]*connection)
	}
	c.returned[conn] = &connection{conn: conn, endpoint: e, remote: remote}
}

// enter counts a connection. It returns false if there are too many.
func (c *connections) enter(conn io.Closer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit <= 0 || c.open < c.limit {
		c.open++
		return true
	}
	if c.refused == nil {
		c.refused = make(map[io.Closer]struct{})
	}
	c.refused[conn] = struct{}{}
	if len(c.refused) > c.mostRefused {
		conn.Close() // who serves it notices
	}
	return false
}

// changed is the http.Server's ConnState. It never hears of the end of a
// connection that was hijacked: its lease does, or the end of its handler.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	if state == http.StateClosed {
		c.leave(unwatched(conn))
	}
}

func (c *connections) leave(conn io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.refused[conn]; ok {
		delete(c.refused, conn)
		return
	}
	c.open--
}

// goOn is for a connection of HTTP/2 that goes on when net/http takes it for
// closed. Who is refused does not.
func (c *connections) goOn(ctx context.Context) (over func()) {
	if connectionOf(ctx).refused {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	return c.forget
}

// forget is leave for one that was not refused.
func (c *connections) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
}

// count is how many there are.
func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}
