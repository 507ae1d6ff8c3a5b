package presence

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
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

// A member with connections on two nodes joins once, and leaves when the last is
// gone.
func TestMemberOnTwoNodes(t *testing.T) {
	inCloud(t, func(t *testing.T, c *cloud) {
		a, b := c.node(), c.node()
		c.at(time.Second)
		onA := a.join("room/1", "ada")
		c.want("1s room/1 +ada")
		c.at(2 * time.Second)
		onB := b.join("room/1", "ada")
		c.at(2500 * time.Millisecond)
		c.want()
		bob := b.join("room/1", "bob")
		c.want("2.5s room/1 +bob")
		wantTables(t, "room/1", []string{"ada", "bob"}, a, b)
		wantSame(t, a, b)
		onA.End()
		bob.End()
		c.at(10 * time.Second)
		c.want("7.8s room/1 -bob")
		wantTables(t, "room/1", []string{"ada"}, a, b)
		onB.End()
		c.at(20 * time.Second)
		c.want("15.3s room/1 -ada")
		wantSame(t, a, b)
		a.wantEmpty(t)
		b.wantEmpty(t)
	})
}

// Who moves between nodes within the grace was never away, as often as he likes.
func TestMoveBetweenNodes(t *testing.T) {
	inCloud(t, func(t *testing.T, c *cloud) {
		nodes := []*cloudNode{c.node(), c.node(), c.node()}
		v := nodes[0].join("room/1", "ada")
		c.at(100 * time.Millisecond)
		c.want("0s room/1 +ada")
		for i := range 12 {
			v.End()
			time.Sleep(DefaultGrace - time.Nanosecond)
			v = nodes[(i+1)%3].join("room/1", "ada")
			time.Sleep(time.Duration(i) * time.Second)
		}
		c.want()
		v.End()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(c.lines) != 1 {
			t.Errorf("%q, want a leave", c.lines)
		}
		for _, n := range nodes {
			n.wantEmpty(t)
		}
	})
}

// What happens on several nodes at the same time is told once.
func TestAtTheSameTime(t *testing.T) {
	inCloud(t, func(t *testing.T, c *cloud) {
		slow := func() time.Duration { return 20 * time.Millisecond }
		a, b, d := c.nodeThatDelays(slow), c.nodeThatDelays(slow), c.nodeThatDelays(slow)
		c.at(time.Second)
		var visits []*Visit
		for _, n := range []*cloudNode{a, b, d} {
			visits = append(visits, n.join("room/1", "ada"))
		}
		c.at(2 * time.Second)
		c.want("1.02s room/1 +ada")
		wantSame(t, a, b)
		wantSame(t, a, d)
		for _, v := range visits { // their graces end together
			v.End()
		}
		c.at(10 * time.Second)
		if len(c.lines) != 1 || c.lines[0][len(c.lines[0])-len("room/1 -ada"):] != "room/1 -ada" {
			t.Errorf("%q, want a leave", c.lines)
		}
		c.lines = nil
		wantTables(t, "room/1", nil, a, b, d)

		// One comes while the others tell that it leaves.
		c.at(20 * time.Second)
		v := a.join("room/1", "eve")
		c.at(21 * time.Second)
		v.End()
		c.at(21*time.Second + DefaultGrace + handover)
		w := b.join("room/1", "eve")
		c.at(40 * time.Second)
		wantTables(t, "room/1", []string{"eve"}, a, b, d)
		if n := len(c.lines); n%2 != 1 {
			t.Errorf("%q", c.lines)
		}
		w.End()
		c.at(50 * time.Second)
		wantTables(t, "room/1", nil, a, b, d)
	})
}

// A node that begins later knows what the others do, and its snapshots are exact.
func TestNodeThatBegins(t *testing.T) {
	inCloud(t, func(t *testing.T, c *cloud) {
		a, b := c.node(), c.node()
		c.at(time.Second)
		before := a.Snapshot("room/1", "", 10).Cursor
		for i := range 2500 {
			a.join("room/1", fmt.Sprintf("m%04d", i))
			b.join(fmt.Sprint("room/", i%100), fmt.Sprint("n", i))
		}
		both := b.join("room/1", "m0000")
		c.at(2 * time.Second)
		d := c.node()
		synctest.Wait()
		wantSame(t, a, d)
		wantSame(t, b, d)
		if d.Lost(before) {
			t.Error("what the others know is lost")
		}
		if s := d.Snapshot("room/1", "", 10); s.Count != 2525 || s.Cursor.ID != c.log.End() {
			t.Errorf("%+v", s)
		}
		both.End()
		d.join("room/2", "ada")
		c.at(20 * time.Second)
		wantSame(t, a, d)
		wantSame(t, b, d)
		if n := c.notes["holds"]; n > 12 { // 32 KiB each
			t.Errorf("5,000 members took %d notes", n)
		}
	})
}

// A table that was told late does not undo what has come since it was so.
func TestTableThatIsTold(t *testing.T) {
	inCloud(t, func(t *testing.T, c *cloud) {
		late := func() time.Duration {
			if time.Since(c.began) < 10*time.Second {
				return 0
			}
			return 300 * time.Millisecond
		}
		a := c.nodeThatDelays(late) // the oldest
		c.at(time.Second)
		b := c.node()
		c.at(2 * time.Second)
		a.join("room/1", "ada")
		eve := b.join("room/1", "eve")
		c.at(3 * time.Second)
		onB := b.join("room/1", "ada")
		c.at(10*time.Second + 200*time.Millisecond - DefaultGrace - handover)
		eve.End()
		onB.End()
		c.at(10 * time.Second)
		d := c.node()
		c.at(10*time.Second + 100*time.Millisecond)
		b.join("room/1", "bob")
		c.at(10*time.Second + 299*time.Millisecond)
		if d.isReady() {
			t.Error("it has been told already")
		}
		c.at(11 * time.Second)
		wantTables(t, "room/1", []string{"ada", "bob"}, a, b, d)
		wantSame(t, a, d)
		wantSame(t, b, d)
	})
}

// Nobody tells of members of whom the others do not know that he is there: he
// would be the oldest for them, and lead, and not for himself.
func TestNodeThatIsHeardLate(t *testing.T) {
	inCloud(t, func(t *testing.T, c *cloud) {
		began := false
		b := c.nodeThatDelays(func() time.Duration {
			if began {
				return 0
			}
			began = true
			return 10 * time.Second // its hello; it says another in 4 s
		})
		synctest.Wait()
		a := c.node()
		c.at(2 * time.Second)
		if !b.isReady() {
			t.Error("it has not heard that everybody is new")
		}
		b.join("room/1", "eve")
		c.at(4*time.Second - 1)
		c.want()
		c.at(5 * time.Second)
		c.want("4s room/1 +eve")
		wantTables(t, "room/1", []string{"eve"}, a, b)
		wantSame(t, a, b)
	})
}

// The members of a node that is killed leave within the grace and 10 s, but for
// those whom another node holds, and those that have come to one.
func TestNodeThatDies(t *testing.T) {
	for offset := range 4 {
		inCloud(t, func(t *testing.T, c *cloud) {
			a := c.node() // the oldest
			time.Sleep(time.Second)
			b, d := c.node(), c.node()
			c.at(100*time.Second + time.Duration(offset)*900*time.Millisecond)
			a.join("room/1", "ada")
			a.join("room/1", "bob")
			a.join("room/2", "")
			b.join("room/1", "bob")
			a.join("room/1", "eve")
			time.Sleep(2 * handover) // bob is told of once, and who comes second tries again
			synctest.Wait()
			c.lines = nil
			died := time.Now()
			a.kill()
			time.Sleep(DefaultGrace - time.Nanosecond)
			d.join("room/1", "eve")
			time.Sleep(time.Until(died.Add(DefaultGrace)))
			wantTables(t, "room/1", []string{"ada", "bob", "eve"}, b, d)
			time.Sleep(time.Until(died.Add(DefaultGrace + 10*time.Second)))
			wantTables(t, "room/1", []string{"bob", "eve"}, b, d)
			wantTables(t, "room/2", nil, b, d)
			if len(c.lines) != 2 {
				t.Errorf("%q, want one event for each topic", c.lines)
			}
			wantSame(t, b, d)
			wantNodes(t, 2, b, d)
		})
	}
}

// Whoever is killed while it clears up after another: everybody leaves, once.
func TestNodesThatDieOneAfterTheOther(t *testing.T) {
	inCloud(t, func(t *testing.T, c *cloud) {
		var nodes []*cloudNode
		for range 4 {
			nodes = append(nodes, c.node())
			time.Sleep(500 * time.Millisecond)
		}
		for i, n := range nodes {
			n.join("room/1", fmt.Sprint("m", i))
		}
		time.Sleep(time.Second)
		for _, n := range nodes[:3] {
			n.kill()
			time.Sleep(9 * time.Second) // about when the next one would have to tell of it
		}
		time.Sleep(20 * time.Second)
		wantTables(t, "room/1", []string{"m3"}, nodes[3])
		leaves := 0
		for _, line := range c.lines {
			leaves += strings.Count(line, "-m")
		}
		if leaves != 3 {
			t.Errorf("%q", c.lines)
		}
	})
}

// The members of a node that is cut off leave, and come back when it does.
func TestNodeThatIsCutOff(t *testing.T) {
	inCloud(t, func(t *testing.T, c *cloud) {
		a, b := c.node(), c.node()
		c.at(10 * time.Second)
		ada := a.join("room/1", "ada")
		a.join("room/1", "eve")
		b.join("room/1", "bob")
		c.at(11 * time.Second)
		c.lines = nil
		a.reach.setCut(true)
		c.at(11*time.Second + DefaultGrace + 10*time.Second)
		wantTables(t, "room/1", []string{"bob"}, b)
		c.lines = nil
		ada.End()
		a.join("room/1", "zoe")
		c.at(time.Minute)
		c.want()
		a.reach.setCut(false)
		c.at(time.Minute + 6*time.Second) // it knows of itself that it was gone, for the grace
		wantTables(t, "room/1", []string{"bob", "eve", "zoe"}, a, b)
		wantSame(t, a, b)
		c.at(3 * time.Minute)
		wantTables(t, "room/1", []string{"bob", "eve", "zoe"}, a, b)
		wantSame(t, a, b)
		wantNodes(t, 2, a, b)
		if len(a.nodes.byName) != 2 || len(b.nodes.byName) != 2 {
			t.Errorf("%d and %d nodes are known", len(a.nodes.byName), len(b.nodes.byName))
		}

		// Shortly, nobody notices.
		c.lines = nil
		a.reach.setCut(true)
		time.Sleep(5 * time.Second)
		a.reach.setCut(false)
		time.Sleep(20 * time.Second)
		c.want()
		// Nor if nobody reaches the log, however long.
		a.reach.setCut(true)
		b.reach.setCut(true)
		time.Sleep(5 * time.Minute)
		a.reach.setCut(false)
		b.reach.setCut(false)
		time.Sleep(time.Minute)
		c.want()
		wantTables(t, "room/1", []string{"bob", "eve", "zoe"}, a, b)
	})
}

// A node that has missed something of the log asks the others anew.
func TestNodeThatHasMissedSomething(t *testing.T) {
	for _, away := range []time.Duration{time.Millisecond, 4 * time.Second, time.Minute} {
		inCloud(t, func(t *testing.T, c *cloud) {
			a, b := c.node(), c.node()
			c.at(10 * time.Second)
			a.join("room/1", "ada")
			eve := a.join("room/1", "eve")
			bob := b.join("room/1", "bob")
			b.join("room/1", "kim")
			c.at(11 * time.Second)
			var missing sync.WaitGroup
			missing.Go(func() { a.reach.miss(away) })
			synctest.Wait()
			eve.End()
			bob.End()
			a.join("room/1", "zoe")
			b.join("room/2", "joe")
			missing.Wait()
			time.Sleep(DefaultGrace + 20*time.Second)
			c.mu.Lock()
			if hellos := c.notes["hello"]; hellos < 3 {
				t.Errorf("%d hellos: it has not asked anew", hellos)
			}
			c.mu.Unlock()
			wantTables(t, "room/1", []string{"ada", "kim", "zoe"}, a, b)
			wantTables(t, "room/2", []string{"joe"}, a, b)
			wantSame(t, a, b)
			time.Sleep(2 * time.Minute)
			wantTables(t, "room/1", []string{"ada", "kim", "zoe"}, a, b)
			wantNodes(t, 2, a, b)
		})
	}
}

// Of a node that stops, only those leave who do not come to another in time.
func TestNodeThatStops(t *testing.T) {
	inCloud(t, func(t *testing.T, c *cloud) {
		a, b := c.node(), c.node()
		c.at(10 * time.Second)
		ada, eve, nobody := a.join("room/1", "ada"), a.join("room/1", "eve"), a.join("room/2", "")
		c.at(11 * time.Second)
		c.lines = nil
		for _, v := range []*Visit{ada, eve, nobody} {
			v.End()
		}
		a.stop()
		c.want("11s room/2 -" + nobody.member)
		c.at(11*time.Second + DefaultGrace - 1)
		b.join("room/1", "ada")
		c.at(time.Minute)
		c.want("16.3s room/1 -eve")
		wantTables(t, "room/1", []string{"ada"}, b)
		d := c.node()
		synctest.Wait()
		wantSame(t, b, d)
		wantNodes(t, 2, b, d)
	})
}

// When all nodes have died, the next one begins anew: it waits until it knows, and
// then a cursor from before is lost. If they have stopped, it waits for nothing.
func TestAllNodesAreGone(t *testing.T) {
	inCloud(t, func(t *testing.T, c *cloud) {
		a, b := c.node(), c.node()
		c.at(time.Second)
		a.join("room/1", "ada")
		b.join("room/1", "bob")
		c.at(10 * time.Second)
		before := a.Snapshot("room/1", "", 1).Cursor
		a.kill()
		b.kill()
		start := time.Now()
		d := c.node()
		eve := d.join("room/1", "eve")
		if err := d.Ready(t.Context()); err != nil || time.Since(start) > 10*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		wantTables(t, "room/1", []string{"eve"}, d)
		if !d.Lost(before) || d.Lost(topic.Cursor{ID: c.log.End()}) {
			t.Error("what is lost?")
		}
		eve.End()
		d.stop()
		start = time.Now()
		e := c.node()
		if err := e.Ready(t.Context()); err != nil || time.Since(start) > 0 {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		wantTables(t, "room/1", nil, e)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f := &reach{Log: c.log, cut: true, back: make(chan struct{})}
		hub := topic.NewHub(f, nil)
		defer hub.Close()
		start = time.Now()
		r, err := New(hub, &Options{Shared: true})
		if err != nil || r.Ready(ctx) == nil || time.Since(start) != time.Second {
			t.Errorf("a log that does not answer: %v after %v", err, time.Since(start))
		}
		r.Close()
		if time.Since(start) > time.Second {
			t.Errorf("closed after %v", time.Since(start))
		}
		f.setCut(false)
	})
}

// What nodes tell each other is little: a beat every 3 s each, and nothing for each
// member.
func TestNotesAreFew(t *testing.T) {
	inCloud(t, func(t *testing.T, c *cloud) {
		a, b := c.node(), c.node()
		c.at(time.Second)
		var visits []*Visit
		for i := range 1000 {
			visits = append(visits, a.join(fmt.Sprint("room/", i%10), fmt.Sprint(i)))
		}
		c.at(2 * time.Second)
		for i := range 1000 { // all move
			b.join(fmt.Sprint("room/", i%10), fmt.Sprint(i))
		}
		for _, v := range visits {
			v.End()
		}
		c.at(5 * time.Minute)
		c.mu.Lock()
		defer c.mu.Unlock()
		const most = 2 * 10 // of each topic at once, and what came within the interval
		if len(c.lines) > most {
			t.Errorf("%d events", len(c.lines))
		}
		beats := c.notes["since"] - c.notes["takes"] - c.notes["frees"] - c.notes["answers"] - c.notes["anew"]
		if beats < 198 || beats > 202 || c.notes["takes"] > most || c.notes["frees"] > most {
			t.Errorf("in 5 minutes: %v", c.notes)
		}
	})
}

// Whatever members and nodes do, and however slow the log is: each event tells
// only what is new, all nodes know the same in the end, and it is so; and whoever
// goes on from a snapshot knows it, too.
func TestRandomCloud(t *testing.T) {
	for seed := range uint64(*cloudRounds) {
		seed += *cloudSeed
		ok := t.Run(fmt.Sprint(seed), func(t *testing.T) { inCloud(t, func(t *testing.T, c *cloud) { randomCloud(t, c, seed) }) })
		if !ok {
			break
		}
	}
}

var (
	cloudRounds = flag.Int("cloud.rounds", 5, "rounds of TestRandomCloud")
	cloudSeed   = flag.Uint64("cloud.seed", 1, "the first round of TestRandomCloud")
)

func leavesOf(t *testing.T, e *topic.Entry) (members []string) {
	t.Helper()
	var c change
	if err := json.Unmarshal(e.Data, &c); err != nil {
		t.Fatal(err)
	}
	for _, m := range c.Leaves {
		members = append(members, m.Member)
	}
	return members
}

func randomCloud(t *testing.T, c *cloud, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 6))
	delay := func() time.Duration {
		c.mu.Lock()
		defer c.mu.Unlock()
		if random.IntN(10) > 0 {
			return time.Duration(random.IntN(10)) * time.Millisecond
		}
		return time.Duration(random.IntN(300)) * time.Millisecond
	}
	dice := func(n int) int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return random.IntN(n)
	}
	type visit struct {
		*Visit
		member string
	}
	names := []string{"room/1", "room/2", "room/3"}
	visits := make(map[*cloudNode][]visit)
	type taken struct {
		name string
		Snapshot
	}
	var snapshots []taken
	events := make(map[string][]*topic.Entry)
	var began []uint64 // where all was forgotten
	var log strings.Builder
	defer func() {
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	c.watch(func(e *topic.Entry) {
		fmt.Fprintln(&log, e.ID.Seq, time.Since(c.began).Round(time.Millisecond), e.Topic, string(e.Data))
		if name, ok := Of(e.Topic); ok {
			events[name] = append(events[name], e)
		} else if strings.Contains(string(e.Data), `"anew":true`) {
			began = append(began, e.ID.Seq)
		}
	})
	nodes := []*cloudNode{c.nodeThatDelays(delay), c.nodeThatDelays(delay)}
	for range 600 {
		time.Sleep(time.Duration(dice(500)) * time.Millisecond)
		n := nodes[dice(len(nodes))]
		switch v := visits[n]; dice(30) {
		case 0:
			if len(nodes) < 4 {
				nodes = append(nodes, c.nodeThatDelays(delay))
			}
		case 1, 2:
			if len(nodes) > 1 {
				nodes = slices.DeleteFunc(nodes, func(other *cloudNode) bool { return other == n })
				delete(visits, n)
				if dice(2) == 0 {
					n.kill()
					continue
				}
				for _, v := range v {
					v.End()
				}
				n.stop()
			}
		case 3, 4:
			n.reach.setCut(true)
		case 5, 6, 7, 8:
			n.reach.setCut(false)
		case 9, 10:
			if name := names[dice(3)]; n.isReady() {
				snapshots = append(snapshots, taken{name, n.Snapshot(name, "", 1000)})
			}
		default:
			if i := dice(len(v) + 1); i < len(v) && len(v) > 4 || i < len(v)/2 {
				v[i].End()
				visits[n] = slices.Delete(v, i, i+1)
			} else {
				member := fmt.Sprint("m", dice(6))
				made := visit{n.Visit(member), member}
				for _, name := range names[dice(3):] {
					if err := made.Join(name); err != nil {
						t.Fatal(err)
					}
				}
				visits[n] = append(v, made)
			}
		}
	}
	for _, n := range nodes {
		n.reach.setCut(false)
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	first := slices.Min(began)
	for _, name := range names {
		set, at := make(map[string]bool), uint64(0)
		for _, e := range events[name] {
			if slices.ContainsFunc(began, func(seq uint64) bool { return at < seq && seq < e.ID.Seq }) {
				clear(set)
			}
			at = e.ID.Seq
			if left := leavesOf(t, e); slices.ContainsFunc(began, func(seq uint64) bool { return first < seq && seq < at }) {
				// What a node that was cut off has to say may come late, and after
				// all was forgotten it may be of one who is not there.
				for _, m := range left {
					set[m] = true
				}
			}
			fold(t, set, e)
		}
		if at < slices.Max(began) {
			clear(set)
		}
		truth := make(map[string]bool)
		for _, n := range nodes {
			for _, v := range visits[n] {
				if v.stay(name) >= 0 {
					truth[v.member] = true
				}
			}
		}
		want := slices.Sorted(maps.Keys(truth))
		if got := slices.Sorted(maps.Keys(set)); !slices.Equal(got, want) {
			t.Errorf("on %s: told were %q, there are %q", name, got, want)
		}
		wantTables(t, name, want, nodes...)
		for _, s := range snapshots {
			if s.name != name || nodes[0].Lost(s.Cursor) || nodes[0].began.Seq != first {
				continue
			}
			set := make(map[string]bool)
			for _, m := range s.Members {
				set[m] = true
			}
			for _, e := range events[name] {
				if e.ID.Seq > s.Cursor.Seq {
					fold(t, set, e)
				}
			}
			if got := slices.Sorted(maps.Keys(set)); !slices.Equal(got, want) {
				t.Errorf("from %+v: %q, want %q", s, got, want)
			}
		}
	}
	for _, n := range nodes[1:] {
		wantSame(t, nodes[0], n)
	}
	wantNodes(t, len(nodes), nodes...)
}
