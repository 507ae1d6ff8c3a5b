package websocket

import (
	"context"
	"sync"
)

// Group is the connections of a server, so that they can be shut down together: http.Server does
// not know them any more. [AcceptOptions].Group puts a connection into one. The zero value is
// ready.
type Group struct {
	mu      sync.Mutex // guards what follows
	members map[member]struct{}
	closing bool
	empty   chan struct{} // closed when the last member has left, if somebody waits for that
}

// member is a connection of a group.
type member interface {
	// goAway begins the closing handshake; the member leaves when it is over.
	goAway()
	CloseNow()
}

// Len gives the number of connections.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.members)
}

// Shutdown closes all connections with [CloseGoingAway], and returns when they are over. If ctx
// ends before, it ends the rest at once and gives the context's error. From its beginning on, new
// handshakes are answered with 503 (Service Unavailable). It may be called more than once.
func (g *Group) Shutdown(ctx context.Context) error {
	g.mu.Lock()
	g.closing = true
	members, empty := g.all(), g.wait()
	g.mu.Unlock()
	for _, m := range members {
		m.goAway()
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	members = g.all()
	g.mu.Unlock()
	for _, m := range members {
		m.CloseNow()
	}
	<-empty
	return context.Cause(ctx)
}

// all gives the members. The caller holds mu.
func (g *Group) all() []member {
	members := make([]member, 0, len(g.members))
	for m := range g.members {
		members = append(members, m)
	}
	return members
}

// wait gives what is closed once there are no members. The caller holds mu.
func (g *Group) wait() <-chan struct{} {
	if g.empty == nil {
		g.empty = make(chan struct{})
		if len(g.members) == 0 {
			close(g.empty)
		}
	}
	return g.empty
}

// over reports whether the group takes no more members. Like add and leave, it may be called on
// nil, which is no group.
func (g *Group) over() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closing
}

// add reports false if the group is over.
func (g *Group) add(m member) bool {
	if g == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		return false
	}
	if g.members == nil {
		g.members = make(map[member]struct{})
	}
	g.members[m] = struct{}{}
	return true
}

func (g *Group) leave(m member) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, found := g.members[m]; !found {
		return
	}
	delete(g.members, m)
	if len(g.members) == 0 && g.empty != nil {
		close(g.empty)
	}
}

// join adds a connection that was accepted, unless the group is over.
func (g *Group) join(c *Conn) (*Conn, error) {
	if g == nil {
		return c, nil
	}
	c.mu.Lock()
	c.group = g
	c.mu.Unlock()
	if !g.add(c) {
		c.CloseNow()
		return nil, c.over()
	}
	if c.over() != nil {
		g.leave(c) // it may have ended before it was added
	}
	return c, nil
}

// goAway leaves the waiting to a goroutine. It ends when the connection does, which Shutdown waits
// for.
func (c *Conn) goAway() { go c.Close(CloseGoingAway, "") }
