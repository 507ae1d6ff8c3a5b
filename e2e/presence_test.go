//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/duplexhq/duplex/internal/testnet"
)

// presenceGrace is that of the servers in the test below: who moves has to be
// there again by then, also on a busy machine.
const presenceGrace = 5 * time.Second

// A presence is who is on the topic room of several servers, and what an observer
// at one of them was told (PROTOCOL.md §14).
type presence struct {
	testing.TB
	nodes []*server

	mu      sync.Mutex
	members map[string]bool // guarded by mu
	told    []string        // as "+ada", "-bob"; guarded by mu
}

// on asks a server.
func (p *presence) on(s *server, query string) (answer struct {
	Members []struct{ Member string }
	Count   int
	Cursor  string
	More    bool
}) {
	p.Helper()
	resp, body := do(p, "GET", s.topic("$presence/room")+query, "")
	if resp.StatusCode != 200 {
		p.Fatalf("%s: %s %s", s.url, resp.Status, body)
	}
	decode(p, body, &answer)
	return answer
}

// follow has the observer read a snapshot, and then what comes, for as long as
// the server runs.
func (p *presence) follow(s *server) {
	p.Helper()
	p.members = make(map[string]bool)
	snapshot := p.on(s, "")
	for _, m := range snapshot.Members {
		p.members[m.Member] = true
	}
	f := openStream(p, s.topic("$presence/room")+"?after="+snapshot.Cursor, "application/x-ndjson")
	// Ends with the stream, at the end of the test.
	go func() {
		for {
			data, err := f.event()
			if err != nil {
				return
			}
			var changes struct{ Joins, Leaves []struct{ Member string } }
			if err := json.Unmarshal([]byte(data), &changes); err != nil {
				p.Errorf("%q: %v", data, err)
				return
			}
			p.mu.Lock()
			for _, m := range changes.Joins {
				p.tell("+", m.Member, !p.members[m.Member])
				p.members[m.Member] = true
			}
			for _, m := range changes.Leaves {
				p.tell("-", m.Member, p.members[m.Member])
				delete(p.members, m.Member)
			}
			p.mu.Unlock()
		}
	}()
}

func (p *presence) tell(sign, member string, isNew bool) {
	if !isNew {
		p.Errorf("%s%s is told, and was so", sign, member)
	}
	p.told = append(p.told, sign+member)
}

// want waits until all servers and the observer say the same.
func (p *presence) want(members ...string) {
	p.Helper()
	seen := ""
	is := func() bool {
		for _, s := range p.nodes {
			if s.killed || s.stopping {
				continue
			}
			answer := p.on(s, "")
			var names []string
			for _, m := range answer.Members {
				names = append(names, m.Member)
			}
			if seen = fmt.Sprint(s.url, " ", names); !slices.Equal(names, members) || answer.Count != len(members) || p.on(s, "?count").Count != len(members) {
				return false
			}
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		seen = fmt.Sprint("observer ", p.told)
		return len(p.members) == len(members)
	}
	if !eventually(is) {
		p.Fatalf("%s, want %q", seen, members)
	}
}

// wantTold wants exactly this to have been told since the last one.
func (p *presence) wantTold(told ...string) {
	p.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.told)
	slices.Sort(told)
	if !slices.Equal(p.told, told) {
		p.Errorf("told were %q, want %q", p.told, told)
	}
	p.told = nil
}

// Three servers share a log on NATS, and whoever is on a topic is so on all of
// them, in a browser, by curl and by duplex sub: on two servers at a time, moving
// between them, and when one is killed or stopped.
func TestPresenceOnSeveralServers(t *testing.T) {
	port := testnet.Ports(t, 1)[0]
	startNATS(t, natsConfig{Name: "nats", Dir: t.TempDir(), Port: port})
	flags := []string{"--nats", fmt.Sprint("nats://127.0.0.1:", port), "--presence", "room", "--presence-grace", presenceGrace.String(), "--log-level", "warn"}
	connectNATS(t, flags[1])
	p := &presence{TB: t}
	for range 3 {
		p.nodes = append(p.nodes, serveAt(t, freeAddress(t), t.TempDir(), flags...))
	}
	a, b, c := p.nodes[0], p.nodes[1], p.nodes[2]
	c.publish(t, "room", "", "text/plain", "so that it is listed")
	p.follow(c)
	p.want()

	// By each transport, at each server.
	tabs := newTab(t, a.topic("page")) // its EventSource goes on by itself
	tabs.run(`ada = new EventSource("/topics/room?member=ada"); zoe = new WebSocket("/topics/room?member=zoe")`)
	curl := func(s *server, member string) *process {
		return start(t, command(tool(t, "curl", "curl"), "-sN", s.topic("room")+"?as=sse&member="+member))
	}
	sub := func(s *server, member string) *process {
		return start(t, command(program, "sub", "room", "--quiet", "--member", member, "--server", s.url))
	}
	bob := curl(a, "bob")
	eve := sub(b, "eve")
	p.want("ada", "bob", "eve", "zoe")
	p.wantTold("+ada", "+bob", "+eve", "+zoe")

	// A second connection, on another server.
	second := curl(b, "bob")
	until(t, "the second connection", func() bool { return b.subscribers(t, "room") == 2 })
	bob.kill()
	time.Sleep(presenceGrace + 2*time.Second)
	// And one that moves.
	eve.kill()
	eve = sub(c, "eve")
	until(t, "eve on the third", func() bool { return c.subscribers(t, "room") == 1 })
	time.Sleep(presenceGrace + 2*time.Second)
	p.want("ada", "bob", "eve", "zoe")
	p.wantTold()

	// One server dies. Who was on it leaves, and its EventSource comes back with it.
	killed := time.Now()
	a.kill(t)
	zoe := curl(c, "zoe") // who goes elsewhere in time was never away
	p.want("bob", "eve", "zoe")
	t.Logf("who was on a server that died has left after %v", time.Since(killed).Round(time.Millisecond))
	p.wantTold("-ada")
	a = serveAt(t, a.addr, t.TempDir(), flags...)
	p.nodes[0] = a
	p.want("ada", "bob", "eve", "zoe")
	p.wantTold("+ada")

	// One stops: only those leave who do not come to another.
	second.kill()
	fran := curl(b, "fran")
	p.want("ada", "eve", "fran", "zoe")
	p.wantTold("+fran", "-bob")
	b.terminate(t)
	<-fran.ended
	fran = curl(c, "fran")
	b.stop(t)
	time.Sleep(presenceGrace + 2*time.Second)
	p.want("ada", "eve", "fran", "zoe")
	p.wantTold()

	// A server that begins knows all.
	p.nodes[1] = serve(t, flags...)
	p.want("ada", "eve", "fran", "zoe")
	for _, m := range []*process{eve, zoe, fran} {
		m.kill()
	}
	tabs.run(`ada.close()`)
	p.want()
	p.wantTold("-ada", "-eve", "-fran", "-zoe")
	if complaints := tabs.complained(); len(complaints) > 0 && !strings.Contains(strings.Join(complaints, " "), "ERR_") {
		t.Errorf("%q", complaints)
	}
}

// kill ends a client.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}
