package presence

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
)

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

// A wildCloud is a cloud in which members and nodes do what a seed has them do.
type wildCloud struct {
	*cloud
	random *rand.Rand // guarded by mu

	nodes     []*cloudNode
	visits    map[*cloudNode][]wildVisit
	snapshots []wildSnapshot
	events    map[string][]*topic.Entry // of presence, by topic
	began     []uint64                  // where all was forgotten
	story     strings.Builder           // what the log has
}

type wildVisit struct {
	*Visit
	member string
}

type wildSnapshot struct {
	topic string
	Snapshot
}

var wildTopics = []string{"room/1", "room/2", "room/3"}

func randomCloud(t *testing.T, c *cloud, seed uint64) {
	w := &wildCloud{
		cloud: c, random: rand.New(rand.NewPCG(seed, 6)),
		visits: make(map[*cloudNode][]wildVisit), events: make(map[string][]*topic.Entry),
	}
	defer func() {
		if t.Failed() {
			t.Log(w.story.String())
		}
	}()
	c.watch(w.note)
	w.nodes = []*cloudNode{c.nodeThatDelays(w.delay), c.nodeThatDelays(w.delay)}
	for range 600 {
		time.Sleep(time.Duration(w.dice(500)) * time.Millisecond)
		w.act()
	}
	for _, n := range w.nodes {
		n.reach.setCut(false)
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	for _, name := range wildTopics {
		want := w.truth(name)
		if got := w.told(name); !slices.Equal(got, want) {
			t.Errorf("on %s: told were %q, there are %q", name, got, want)
		}
		wantTables(t, name, want, w.nodes...)
		w.checkSnapshots(name, want)
	}
	for _, n := range w.nodes[1:] {
		wantSame(t, w.nodes[0], n)
	}
	wantNodes(t, len(w.nodes), w.nodes...)
}

func (w *wildCloud) dice(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

// delay is how long an append takes to get to the log.
func (w *wildCloud) delay() time.Duration {
	most := 10
	if w.dice(10) == 0 {
		most = 300
	}
	return time.Duration(w.dice(most)) * time.Millisecond
}

// note remembers what the log has.
func (w *wildCloud) note(e *topic.Entry) {
	fmt.Fprintln(&w.story, e.ID.Seq, time.Since(w.cloud.began).Round(time.Millisecond), e.Topic, string(e.Data))
	if name, ok := Of(e.Topic); ok {
		w.events[name] = append(w.events[name], e)
	} else if strings.Contains(string(e.Data), `"anew":true`) {
		w.began = append(w.began, e.ID.Seq)
	}
}

// act has something happen to a node, or on it.
func (w *wildCloud) act() {
	n := w.nodes[w.dice(len(w.nodes))]
	switch w.dice(30) {
	case 0:
		if len(w.nodes) < 4 {
			w.nodes = append(w.nodes, w.nodeThatDelays(w.delay))
		}
	case 1, 2:
		if len(w.nodes) > 1 {
			w.remove(n)
		}
	case 3, 4:
		n.reach.setCut(true)
	case 5, 6, 7, 8:
		n.reach.setCut(false)
	case 9, 10:
		if name := wildTopics[w.dice(3)]; n.isReady() {
			w.snapshots = append(w.snapshots, wildSnapshot{name, n.Snapshot(name, "", 1000)})
		}
	default:
		w.visit(n)
	}
}

// remove ends a node: at once, or in good order.
func (w *wildCloud) remove(n *cloudNode) {
	visits := w.visits[n]
	w.nodes = slices.DeleteFunc(w.nodes, func(other *cloudNode) bool { return other == n })
	delete(w.visits, n)
	if w.dice(2) == 0 {
		n.kill()
		return
	}
	for _, v := range visits {
		v.End()
	}
	n.stop()
}

// visit has a member come to a node, or go.
func (w *wildCloud) visit(n *cloudNode) {
	visits := w.visits[n]
	if i := w.dice(len(visits) + 1); i < len(visits) && len(visits) > 4 || i < len(visits)/2 {
		visits[i].End()
		w.visits[n] = slices.Delete(visits, i, i+1)
		return
	}
	member := fmt.Sprint("m", w.dice(6))
	v := wildVisit{n.Visit(member), member}
	for _, name := range wildTopics[w.dice(3):] {
		if err := v.Join(name); err != nil {
			w.t.Fatal(err)
		}
	}
	w.visits[n] = append(visits, v)
}

// truth is who is on a topic.
func (w *wildCloud) truth(name string) []string {
	members := make(map[string]bool)
	for _, n := range w.nodes {
		for _, v := range w.visits[n] {
			if v.stay(name) >= 0 {
				members[v.member] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(members))
}

// told is who is on a topic as its events tell. None of them may tell what is not new.
func (w *wildCloud) told(name string) []string {
	first := slices.Min(w.began)
	forgotten := func(after, before uint64) bool {
		return slices.ContainsFunc(w.began, func(seq uint64) bool { return after < seq && seq < before })
	}
	members, at := make(map[string]bool), uint64(0)
	for _, e := range w.events[name] {
		if forgotten(at, e.ID.Seq) {
			clear(members)
		}
		at = e.ID.Seq
		if left := leavesOf(w.t, e); forgotten(first, at) {
			// What a node that was cut off has to say may come late, and after
			// all was forgotten it may be of one who is not there.
			for _, m := range left {
				members[m] = true
			}
		}
		fold(w.t, members, e)
	}
	if at < slices.Max(w.began) {
		clear(members)
	}
	return slices.Sorted(maps.Keys(members))
}

// checkSnapshots goes on from each snapshot of a topic.
func (w *wildCloud) checkSnapshots(name string, want []string) {
	oldest := w.nodes[0]
	for _, s := range w.snapshots {
		if s.topic != name || oldest.Lost(s.Cursor) || oldest.began.Seq != slices.Min(w.began) {
			continue
		}
		members := make(map[string]bool)
		for _, m := range s.Members {
			members[m] = true
		}
		for _, e := range w.events[name] {
			if e.ID.Seq > s.Cursor.Seq {
				fold(w.t, members, e)
			}
		}
		if got := slices.Sorted(maps.Keys(members)); !slices.Equal(got, want) {
			w.t.Errorf("from %+v: %q, want %q", s, got, want)
		}
	}
}
