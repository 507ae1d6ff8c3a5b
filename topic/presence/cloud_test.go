package presence

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
)

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
