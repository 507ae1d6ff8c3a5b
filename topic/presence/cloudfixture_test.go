package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
	"github.com/duplexhq/duplex/topic/memlog"
)

// A cloud is a log that several nodes share, in a bubble.
type cloud struct {
	t     *testing.T
	log   *memlog.Log
	began time.Time
	grace time.Duration

	mu      sync.Mutex
	lines   []string       // what was told, as of house; guarded by mu
	notes   map[string]int // what nodes have told each other, by kind; guarded by mu
	reaches []*reach       // guarded by mu
	f       func(*topic.Entry)
}

// A reach is how a node reaches the log. What it misses comes when it is back,
// and before it can append again.
type reach struct {
	*memlog.Log
	cloud *cloud
	delay func() time.Duration // before an append

	mu     sync.Mutex
	cut    bool                 // guarded by mu
	back   chan struct{}        // closed when it is not cut; guarded by mu
	missed []*topic.Entry       // guarded by mu
	f      func([]*topic.Entry) // guarded by mu
}

func (r *reach) take(entries []*topic.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut {
		r.missed = append(r.missed, entries...)
	} else if r.f != nil {
		r.f(entries)
	}
}

func (r *reach) Watch(f func([]*topic.Entry)) topic.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.f = f
	return r.Log.End()
}

func (r *reach) setCut(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut == cut {
		return
	}
	r.cut = cut
	if cut {
		r.back = make(chan struct{})
		return
	}
	close(r.back)
	if len(r.missed) > 0 && r.f != nil {
		r.f(r.missed)
	}
	r.missed = nil
}

// miss has the node be cut off, and then be told that it has missed something,
// but not what.
func (r *reach) miss(d time.Duration) {
	r.setCut(true)
	time.Sleep(d)
	r.mu.Lock()
	r.missed = nil
	r.mu.Unlock()
	r.setCut(false)
	r.f(nil)
}

func (r *reach) Append(ctx context.Context, name string, drafts []topic.Draft, key topic.Key) (topic.ID, error) {
	if r.delay != nil {
		time.Sleep(r.delay())
	}
	for {
		r.mu.Lock()
		cut, back := r.cut, r.back
		r.mu.Unlock()
		if !cut {
			return r.Log.Append(ctx, name, drafts, key)
		}
		select {
		case <-back:
		case <-time.After(15 * time.Second):
			return topic.ID{}, topic.ErrUnavailable
		case <-ctx.Done():
			return topic.ID{}, context.Cause(ctx)
		}
	}
}

// inCloud runs f in a bubble with a log for several nodes.
func inCloud(t *testing.T, f func(t *testing.T, c *cloud)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		rules, err := topic.NewRules(Rules(nil)...)
		if err != nil {
			t.Fatal(err)
		}
		c := &cloud{t: t, log: memlog.Open(&memlog.Options{Rules: rules}), began: time.Now(), notes: make(map[string]int)}
		c.log.Watch(c.take)
		t.Cleanup(func() {
			time.Sleep(20 * time.Second) // what was on its way to the log
			c.log.Close()
		})
		f(t, c)
	})
}

func (c *cloud) take(entries []*topic.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range entries {
		if c.f != nil {
			c.f(e)
		}
		if name, ok := Of(e.Topic); ok {
			var told change
			if err := json.Unmarshal(e.Data, &told); err != nil {
				c.t.Error(err)
			}
			c.lines = append(c.lines, fmt.Sprint(time.Since(c.began).Round(time.Millisecond), " ", name, told))
			continue
		}
		var kinds map[string]any
		if err := json.Unmarshal(e.Data, &kinds); err != nil {
			c.t.Error(err)
		}
		for kind := range kinds {
			c.notes[kind]++
		}
	}
	for _, r := range c.reaches {
		r.take(entries)
	}
}

// watch has f called with each entry.
func (c *cloud) watch(f func(*topic.Entry)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.f = f
}

// A cloudNode is one that uses the log.
type cloudNode struct {
	*Recorder
	cloud *cloud
	reach *reach
	hub   *topic.Hub
	over  chan struct{} // closed when it has stopped
	stops atomic.Bool
}

func (c *cloud) node() *cloudNode { return c.nodeThatDelays(nil) }

func (c *cloud) nodeThatDelays(delay func() time.Duration) *cloudNode {
	c.t.Helper()
	n := &cloudNode{cloud: c, over: make(chan struct{}), reach: &reach{Log: c.log, cloud: c, delay: delay}}
	c.mu.Lock()
	c.reaches = append(c.reaches, n.reach)
	c.mu.Unlock()
	n.hub = topic.NewHub(n.reach, nil)
	var err error
	n.Recorder, err = New(n.hub, &Options{Patterns: []topic.Pattern{pattern(c.t, "room/*")}, Grace: c.grace, Shared: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(n.stop)
	return n
}

// stop stops a node in good order.
func (n *cloudNode) stop() {
	if !n.stops.Swap(true) {
		n.Recorder.Close()
		n.hub.Close()
		close(n.over)
	}
	<-n.over
}

// kill has a node do nothing more, and nobody is told.
func (n *cloudNode) kill() {
	n.reach.setCut(true)
	go n.stop() // it waits for the log in vain; joined when the test ends
	synctest.Wait()
}

func (n *cloudNode) join(name, member string) *Visit {
	n.cloud.t.Helper()
	v := n.Visit(member)
	if err := v.Join(name); err != nil {
		n.cloud.t.Fatal(err)
	}
	return v
}

func (c *cloud) at(d time.Duration) {
	time.Sleep(time.Until(c.began.Add(d)))
	synctest.Wait()
}

// want compares what was told since the last want.
func (c *cloud) want(lines ...string) {
	c.t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Equal(c.lines, lines) {
		c.t.Errorf("after %v: got %q, want %q", time.Since(c.began), c.lines, lines)
	}
	c.lines = nil
}

// wantTables compares the tables of a topic on some nodes.
func wantTables(t *testing.T, name string, members []string, nodes ...*cloudNode) {
	t.Helper()
	synctest.Wait()
	for i, n := range nodes {
		if s := n.Snapshot(name, "", 1000); !slices.Equal(s.Members, members) || s.Count != len(members) || !n.isReady() || s.Cursor.ID != n.log.End() {
			t.Errorf("on node %d: %+v, ready %v, want %q at %v", i, s, n.isReady(), members, n.log.End())
		}
	}
}

// wantNodes wants so many nodes to live, for each of some.
func wantNodes(t *testing.T, want int, nodes ...*cloudNode) {
	t.Helper()
	for i, n := range nodes {
		n.mu.Lock()
		live := 0
		for _, other := range n.nodes.byName {
			if other.gone.IsZero() {
				live++
			}
		}
		n.mu.Unlock()
		if live != want {
			t.Errorf("for node %d there are %d, want %d", i, live, want)
		}
	}
}

// wantSame compares everything that two nodes know.
func wantSame(t *testing.T, a, b *cloudNode) {
	t.Helper()
	all := func(n *cloudNode) []string {
		n.mu.Lock()
		defer n.mu.Unlock()
		var list []string
		for name, topic := range n.topics {
			for m := range topic.members.after("") {
				line := fmt.Sprint(name, " ", m.name, " ", m.announced)
				holders := []string{}
				for _, s := range append(slices.Clone(n.others[m]), m.holder) {
					if s != 0 {
						holders = append(holders, n.nodes.slots[s].name)
					}
				}
				slices.Sort(holders)
				list = append(list, fmt.Sprint(line, holders))
			}
		}
		slices.Sort(list)
		return list
	}
	if x, y := all(a), all(b); !slices.Equal(x, y) {
		t.Errorf("one knows %q, another %q", x, y)
	}
}
