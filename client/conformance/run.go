package conformance

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/duplexhq/duplex/topic"
)

// patience is what an Expect on real sockets gets beyond its Within, so that a
// busy machine fails no client, nor does one that finds its way up again (§15.4).
const patience = 3 * time.Minute

var long = flag.Bool("conformance.long", false, "judge clients by the cases that take long on real sockets, too: 3 minutes")

// Run judges a client by all cases, each a test of its own.
func Run(t *testing.T, agent *Agent) {
	for _, c := range Cases {
		t.Run(c.Name, func(t *testing.T) {
			if reason := agent.Skip[c.Name]; reason != "" {
				t.Skip(reason)
			}
			if agent.InBubble {
				synctest.Test(t, func(t *testing.T) { judge(t, agent, &c) })
				return
			}
			if c.Long && !*long {
				t.Skip("takes long on real sockets: needs -conformance.long")
			}
			t.Parallel()
			judge(t, agent, &c)
		})
	}
}

// A trial is one case being judged.
type trial struct {
	*testing.T
	agent   *Agent
	world   *world
	in      io.WriteCloser
	reports chan Report

	stepped time.Time // when the step before was over
	server  string    // the URL for the agent

	subs     map[string]*given // by ref
	happened map[string]Report // the last report of a kind and ref
	status   Status
}

// given is what a subscription was given.
type given struct {
	Command
	pattern topic.Pattern
	ids     []string
	gaps    int
	over    bool
}

// whole reports whether it should be given all that its topics have.
func (g *given) whole() bool { return g.After == "earliest" || g.lost() }

// lost reports whether its cursor has no place in the log: it is told of one gap,
// before any event.
func (g *given) lost() bool { return slices.Contains(noPlaces, g.After) }

func judge(t *testing.T, agent *Agent, c *Case) {
	w := newWorld(t, agent, c)
	in, out := agent.Start(t, w.dial())
	j := &trial{
		T: t, agent: agent, world: w, in: in, reports: make(chan Report, 1000),
		server: w.url, subs: make(map[string]*given), happened: make(map[string]Report),
	}
	// Ends with the agent's output. Joined by draining the channel.
	go j.read(out)
	j.stepped = time.Now()
	for i, s := range c.Do {
		j.step(fmt.Sprintf("step %d", i+1), &s)
		j.stepped = time.Now()
	}
	j.complete()
	j.send(Command{Do: "close"})
	j.await("the end", &Expect{Report: "closed", Within: 5 * time.Second})
	in.Close()
	for range j.reports { // until the agent has ended
	}
	w.close()
}

func (j *trial) read(out io.Reader) {
	defer close(j.reports)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var r Report
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			j.Errorf("the agent wrote %q: %v", lines.Bytes(), err)
			continue
		}
		j.reports <- r
	}
}

func (j *trial) send(c Command) {
	line, err := json.Marshal(c)
	if err != nil {
		j.Fatal(err)
	}
	if _, err := j.in.Write(append(line, '\n')); err != nil {
		j.Fatalf("the agent takes no command: %v", err)
	}
}

func (j *trial) step(name string, s *Step) {
	j.Helper()
	switch {
	case s.Tell != nil:
		c := *s.Tell
		switch c.Do {
		case "open":
			c.Server = j.server
			if j.world.udp {
				c.CA = secure().authority
			}
		case "subscribe":
			pattern, err := topic.ParsePattern(c.Topic)
			if err != nil {
				j.Fatal(err)
			}
			j.subs[c.Ref] = &given{Command: c, pattern: pattern}
			if c.After == beyond {
				c.After = j.world.beyond()
			}
		case "unsubscribe":
			j.subs[c.Ref].over = true
		}
		j.send(c)
	case s.Publish != nil:
		for i := range s.Publish.N {
			j.world.publish(s.Publish.Topic, fmt.Sprintf("event %d of %s", i, name))
		}
	case s.Expect != nil:
		j.await(name, s.Expect)
	case s.Network != nil:
		j.world.change(s.Network)
	case s.Cut:
		j.world.cut()
	case s.Rebind:
		j.world.rebind()
	case s.Server != "":
		j.world.act(s.Server)
	case s.Change != nil:
		j.change(s.Change)
	case s.Pause > 0:
		time.Sleep(s.Pause)
	}
}

// await takes reports until the expectation is met.
func (j *trial) await(name string, e *Expect) {
	j.Helper()
	within := e.Within
	if within == 0 {
		within = time.Second
	}
	if !j.agent.InBubble {
		within += patience
	}
	late := time.NewTimer(time.Until(j.stepped.Add(within)))
	defer late.Stop()
	for !j.met(e) {
		select {
		case r, ok := <-j.reports:
			if !ok {
				j.Fatalf("%s: the agent has ended; want %+v", name, *e)
			}
			j.take(r)
		case <-late.C:
			j.Fatalf("%s: after %v there is no %+v; status %+v; %s", name, within, *e, j.status, j.counts())
		}
	}
	if e.N > 0 || e.State != "" {
		j.Logf("%s: %s %s after %v; %s", name, j.status.State, j.status.Transport, time.Since(j.stepped).Round(time.Millisecond), j.counts())
	}
	if took := time.Since(j.stepped); took < e.After && j.agent.InBubble {
		j.Fatalf("%s: %+v came after %v", name, *e, took)
	}
}

func (j *trial) counts() (text string) {
	for ref, g := range j.subs {
		text += fmt.Sprintf("%s has %d events ", ref, len(g.ids))
	}
	return text
}

// met reports whether the expectation is met by what was reported so far.
func (j *trial) met(e *Expect) bool {
	if e.N > 0 && len(j.subs[e.Ref].ids) < e.N {
		return false
	}
	if e.State != "" && j.status.State != e.State || e.Transport != "" && j.status.Transport != e.Transport {
		return false
	}
	if e.Failed != "" && j.status.Failed[e.Failed] == "" {
		return false
	}
	if e.Report == "" {
		return true
	}
	r, ok := j.happened[e.Report+" "+e.Ref]
	if !ok {
		return false
	}
	var got Error
	if r.Error != nil {
		got = *r.Error
	}
	if (e.Status != 0 || e.Name != "" || r.Error != nil) && (got.Status != e.Status || got.Name != e.Name) {
		j.Fatalf("%s of %s is %+v, want status %d and name %q", e.Report, e.Ref, got, e.Status, e.Name)
	}
	return true
}

func (j *trial) take(r Report) {
	j.happened[r.Report+" "+r.Ref] = r
	switch r.Report {
	case "status":
		if r.Status != nil {
			j.status = *r.Status
		}
	case "event":
		e, err := topic.ParseEnvelope(r.Event)
		if err != nil {
			j.Errorf("an event that is none: %s: %v", r.Event, err)
			return
		}
		g := j.subs[r.Ref]
		if e.Type == topic.TypeGap {
			if g.gaps++; !g.lost() || g.gaps > 1 || len(g.ids) > 0 {
				j.Errorf("%s: a gap: %s", r.Ref, e.Data)
			}
		}
		if e.Type == topic.TypeGap || e.Type == topic.TypeEnd || g == nil {
			return
		}
		if slices.Contains(g.ids[max(0, len(g.ids)-2000):], e.ID) {
			j.Errorf("%s: %s came twice", r.Ref, e.ID)
		}
		g.ids = append(g.ids, e.ID)
	case "over":
		if g := j.subs[r.Ref]; g != nil {
			g.over = true
		}
	}
}

// complete waits until every subscription has everything that it should have.
func (j *trial) complete() {
	for ref, g := range j.subs {
		all := j.world.history(g.Topic)
		if g.whole() && !g.over {
			j.await("the end", &Expect{Ref: ref, N: len(all), Within: 30 * time.Second})
		}
	}
	for ref, g := range j.subs {
		if g.lost() && g.gaps == 0 {
			j.Errorf("%s: no gap, after a cursor of no place", ref)
		}
		all := j.world.history(g.Topic)
		rest := all
		for i, id := range g.ids {
			at := slices.Index(rest, id)
			if at < 0 || g.whole() && at > 0 {
				j.Fatalf("%s: event %d is %s: after %q, not the next of the log, which has %d", ref, i, id, g.ids[max(0, i-1):i], len(all))
			}
			rest = rest[at+1:]
		}
	}
}

// change changes the transport under load.
func (j *trial) change(c *Change) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // Ends with stop. Joined by stopped.
		defer close(stopped)
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-ticker.C:
				j.world.publish(c.Topic, fmt.Sprintf("event %d under load", i))
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for i := range c.Times {
		to := c.Transports[(i*7+i/5+1)%len(c.Transports)] // each follows each other
		if c.CutEvery > 0 && i%c.CutEvery == c.CutEvery-1 {
			j.world.cut()
		}
		j.send(Command{Do: "transports", Transports: []string{to}})
		j.stepped = time.Now()
		j.await(fmt.Sprintf("change %d to %s", i+1, to), &Expect{State: "connected", Transport: to, Within: 5 * time.Second})
	}
}
