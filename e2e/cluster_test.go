//go:build e2e

package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var (
	clusterRate        = flag.Int("cluster.rate", 200, "events per second that TestCluster publishes")
	clusterSubscribers = flag.Int("cluster.subscribers", 28, "subscribers of TestCluster")
	clusterTime        = flag.Duration("cluster.time", 0, "how long TestCluster lets things fail; in 0 each kind of failure is seen once or twice")
)

// Three servers of the program share the log on three NATS servers. Whatever
// fails, what was acknowledged reaches every subscriber once and in the log's
// order, though publishers and subscribers go to another server with each
// request.
func TestCluster(t *testing.T) {
	x := startCluster(t)
	x.phase("nothing fails", func() { x.more(2 * *clusterRate) })
	short := []func(){
		func() { x.killNode(0) },
		x.killLeader,
		x.isolateLeader,
		x.restartNodes,
		x.retireNATS,
	}
	long := []func(){
		func() { x.killNode(1) }, func() { x.killNode(2) },
		func() { x.cutOff(0) }, func() { x.cutOff(1) }, func() { x.cutOff(2) },
		func() { x.killNATS(0) }, func() { x.killNATS(1) }, func() { x.killNATS(2) },
		func() { x.isolate(0) }, func() { x.isolate(1) }, func() { x.isolate(2) },
		x.stopLeader,
		x.killAllNATS,
	}
	fail := short
	if *clusterTime > 0 {
		fail = append(fail, long...)
	}
	begun := time.Now()
	for i := 0; i < len(fail) || time.Since(begun) < *clusterTime; i++ {
		fail[i%len(fail)]()
		if t.Failed() {
			break
		}
	}
	x.check()
}

// A clusterTest is a load on several servers that share a log.
type clusterTest struct {
	*testing.T
	nats    *natsCluster
	nodes   []*server
	roads   [][]*gate // from each node to each NATS server
	bases   []string  // URLs of the nodes
	client  *http.Client
	origin  string // the cursor before the first event
	epoch   string // of all ids
	begun   time.Time
	writers []*clusterWriter
	readers []*clusterReader
	writing sync.WaitGroup
	reading sync.WaitGroup
	stop    chan struct{} // of writers
	stopped chan struct{} // of readers

	acknowledged atomic.Int64
	lastAck      atomic.Int64 // nanoseconds since begun
	phases       []*clusterPhase
	now          atomic.Pointer[clusterPhase]
}

// A clusterPhase is what was seen while one thing failed.
type clusterPhase struct {
	name                   string
	took                   time.Duration
	events                 int64
	refused, broken        atomic.Int64 // attempts to publish, legs of subscribers
	silence                atomic.Int64 // longest time without an acknowledgement, nanoseconds
	publishing, delivering atomic.Int64 // longest time from the first attempt to the acknowledgement, to a subscriber
	published, delivered   atomic.Int64 // sums of the same
	publishedN, deliveredN atomic.Int64
	slowestReader          atomic.Pointer[string]
}

func (p *clusterPhase) String() string {
	mean := func(sum, n *atomic.Int64) time.Duration {
		return time.Duration(sum.Load() / max(1, n.Load())).Round(10 * time.Microsecond)
	}
	round := func(n *atomic.Int64) time.Duration { return time.Duration(n.Load()).Round(time.Millisecond) }
	slowest := ""
	if s := p.slowestReader.Load(); s != nil {
		slowest = " by " + *s
	}
	return fmt.Sprintf("%-26s %6.1fs %6d/s, silence %v, publish %v (mean %v, %d refused), deliver %v%s (mean %v, %d broken)", p.name, p.took.Seconds(),
		int(float64(p.events)/p.took.Seconds()), round(&p.silence), round(&p.publishing), mean(&p.published, &p.publishedN), p.refused.Load(),
		round(&p.delivering), slowest, mean(&p.delivered, &p.deliveredN), p.broken.Load())
}

// longest raises a maximum, and reports whether it did.
func longest(most *atomic.Int64, d time.Duration) bool {
	for {
		old := most.Load()
		if int64(d) <= old {
			return false
		}
		if most.CompareAndSwap(old, int64(d)) {
			return true
		}
	}
}

const clusterTopics = 100

var clusterTopicNames = func() (names [clusterTopics]string) {
	for n := range names {
		names[n] = fmt.Sprintf("cluster/%d/%d", n/10, n%10)
	}
	return names
}()

func clusterTopic(n int) string { return clusterTopicNames[n] }

func startCluster(t *testing.T) *clusterTest {
	x := &clusterTest{T: t, nats: startNATSCluster(t), stop: make(chan struct{}), stopped: make(chan struct{}), begun: time.Now()}
	x.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	t.Cleanup(x.client.CloseIdleConnections)
	for i := range 3 {
		var roads []*gate
		for _, config := range x.nats.configs {
			roads = append(roads, newGate(t, fmt.Sprint("127.0.0.1:", config.Port)))
		}
		x.roads = append(x.roads, roads)
		s := x.serve(i, freeAddress(t))
		x.nodes, x.bases = append(x.nodes, s), append(x.bases, s.url)
	}
	x.origin = x.nodes[0].page(t, "**", "").Cursor
	x.epoch, _, _ = strings.Cut(x.origin, "-")
	x.now.Store(&clusterPhase{name: "the beginning"})
	writers := min(256, max(8, *clusterRate/20))
	for i := range writers {
		w := newClusterWriter(x, i, time.Second*time.Duration(writers)/time.Duration(*clusterRate))
		x.writers = append(x.writers, w)
	}
	for i := range *clusterSubscribers {
		x.readers = append(x.readers, newClusterReader(x, i))
	}
	x.lastAck.Store(int64(x.since()))
	for _, w := range x.writers {
		x.writing.Go(w.run) // Ends with stop. Joined by end.
	}
	for _, r := range x.readers {
		x.reading.Go(r.run) // Ends when it has everything, or with stopped. Joined by end.
	}
	t.Cleanup(x.end) // before the servers end
	return x
}

func (x *clusterTest) since() time.Duration { return time.Since(x.begun) }

// serve starts a node.
func (x *clusterTest) serve(i int, address string) *server {
	x.Helper()
	var urls []string
	for _, road := range x.roads[i] {
		urls = append(urls, "nats://"+road.addr)
	}
	return serveAt(x, address, x.TempDir(), "--nats", strings.Join(urls, ","), "--nats-replicas", "3", "--log-level", "warn")
}

// phase runs f, and waits until all is well.
func (x *clusterTest) phase(name string, f func()) {
	x.Helper()
	p := &clusterPhase{name: name}
	x.phases = append(x.phases, p)
	x.now.Store(p)
	begun, before := time.Now(), x.acknowledged.Load()
	f()
	x.nats.waitCurrent(x)
	for i, base := range x.bases {
		until(x, fmt.Sprintf("node %d is ready after: %s", i, name), func() bool {
			if x.nodes[i].hasEnded() {
				x.Fatalf("node %d has ended: %s", i, tail(x.nodes[i].stderr.String(), 500))
			}
			response, err := x.client.Get(base + "/readyz")
			if err != nil {
				return false
			}
			response.Body.Close()
			return response.StatusCode == http.StatusOK
		})
	}
	x.more(*clusterRate / 2)
	p.took, p.events = time.Since(begun), x.acknowledged.Load()-before
	x.Log(p)
}

// more waits until so many further events were acknowledged.
func (x *clusterTest) more(n int) {
	x.Helper()
	end := x.acknowledged.Load() + int64(n)
	until(x, "events are acknowledged", func() bool { return x.acknowledged.Load() >= end || x.Failed() })
}

func (x *clusterTest) killNode(i int) {
	x.phase(fmt.Sprintf("node %d is killed", i), func() {
		x.nodes[i].kill(x)
		x.more(*clusterRate)
		x.nodes[i] = x.serve(i, x.nodes[i].addr)
	})
}

// cutOff parts a node from all NATS servers.
func (x *clusterTest) cutOff(i int) {
	x.phase(fmt.Sprintf("node %d is cut off", i), func() {
		for _, road := range x.roads[i] {
			road.shut(true)
		}
		time.Sleep(time.Second) // what is on its way comes
		x.more(*clusterRate)
		for _, road := range x.roads[i] {
			road.shut(false)
		}
	})
}

func (x *clusterTest) restartNodes() {
	for i := range x.nodes {
		x.phase(fmt.Sprintf("node %d is restarted", i), func() {
			x.nodes[i].stop(x)
			x.nodes[i] = x.serve(i, x.nodes[i].addr)
		})
	}
}

func (x *clusterTest) killNATS(i int) {
	x.phase(fmt.Sprintf("NATS server %d is killed", i), func() {
		x.nats.kill(x, i)
		x.more(*clusterRate)
		x.nats.start(x, i)
	})
}

func (x *clusterTest) killLeader() {
	x.phase("the leader is killed", func() {
		i := x.nats.leader(x)
		x.nats.kill(x, i)
		x.more(*clusterRate)
		x.nats.start(x, i)
	})
}

func (x *clusterTest) killAllNATS() {
	x.phase("all NATS servers are killed", func() {
		for i := range x.nats.processes {
			x.nats.kill(x, i)
		}
		for i := range x.nats.processes {
			x.nats.start(x, i)
		}
		x.more(*clusterRate)
	})
}

func (x *clusterTest) isolateLeader() { x.isolate(x.nats.leader(x)) }

// isolate parts a NATS server from the others until they have gone on without.
func (x *clusterTest) isolate(i int) {
	x.phase(fmt.Sprintf("NATS server %d is isolated", i), func() {
		x.nats.isolate(i, true)
		time.Sleep(time.Second) // what is on its way comes
		x.more(*clusterRate)
		x.nats.isolate(i, false)
	})
}

// stopLeader has the stream's leader stand still: to its clients, too, it seems
// to be there.
func (x *clusterTest) stopLeader() {
	x.phase("the leader stands still", func() {
		p := x.nats.processes[x.nats.leader(x)]
		p.signal(x, syscall.SIGSTOP)
		time.Sleep(time.Second)
		x.more(*clusterRate)
		p.signal(x, syscall.SIGCONT)
	})
}

func (x *clusterTest) retireNATS() {
	for i := range x.nats.processes {
		x.phase(fmt.Sprintf("NATS server %d is restarted", i), func() {
			x.nats.retire(x, i)
			x.nats.start(x, i)
		})
	}
}

func (x *clusterTest) end() {
	select {
	case <-x.stop:
	default:
		close(x.stop)
	}
	x.writing.Wait()
	select {
	case <-x.stopped:
	default:
		close(x.stopped)
	}
	x.reading.Wait()
}

// check ends the load. What was acknowledged is in the log, once, with the id
// that was told, and in the order of its publisher; all nodes have the same log;
// and every subscriber got all of it that it had asked for, in its order.
func (x *clusterTest) check() {
	close(x.stop)
	x.writing.Wait()
	log := x.log(0)
	next := make([]int, len(x.writers))
	for _, e := range log {
		w, n := e.event.split()
		if n != next[w] {
			x.Fatalf("event %d of publisher %d comes as %d, and %d was to come", n, w, e.seq, next[w])
		}
		next[w]++
		if acked := x.writers[w].seq(n); acked != 0 && acked != e.seq {
			x.Fatalf("event %d of publisher %d was acknowledged as %d, and is %d", n, w, acked, e.seq)
		}
		if topic := x.writers[w].topic(n); topic != e.topic {
			x.Fatalf("event %d of publisher %d is on topic %d, and not on %d", n, w, e.topic, topic)
		}
	}
	for w, n := range next {
		if acked := x.writers[w].acknowledged(); n < acked {
			x.Fatalf("%d events of publisher %d are lost", acked-n, w)
		}
	}
	for _, r := range x.readers {
		r.expect(log)
	}
	complete := eventually(func() bool {
		for _, r := range x.readers {
			if !r.complete.Load() {
				return false
			}
		}
		return true
	})
	close(x.stopped)
	x.reading.Wait()
	if !complete {
		for i, r := range x.readers {
			if !r.complete.Load() {
				x.Errorf("subscriber %d got %d events; the last by %s", i, len(r.got), r.kindNow())
			}
		}
	}
	deliveries := 0
	for i, r := range x.readers {
		deliveries += len(r.got)
		r.check(i, log)
	}
	for i := 1; i < len(x.nodes); i++ {
		for n, e := range x.log(i) {
			if n >= len(log) || e != log[n] {
				x.Fatalf("nodes 0 and %d differ in entry %d", i, n)
			}
		}
	}
	x.Logf("%d events, %d deliveries to %d subscribers in %v", len(log), deliveries, len(x.readers), x.since().Round(time.Second))
	kinds := make(map[string]int)
	for _, r := range x.readers {
		for kind, n := range r.legs {
			kinds[kind] += n
		}
	}
	x.Log("legs:", kinds)
	worst := x.phases[0]
	for _, p := range x.phases {
		if p.silence.Load() > worst.silence.Load() {
			worst = p
		}
	}
	x.Logf("longest pause: %s", worst)
}

// A clusterEntry is an entry of the log, or what came of it.
type clusterEntry struct {
	seq   uint64
	event clusterEvent
	topic int
}

// log reads everything from a node.
func (x *clusterTest) log(node int) []clusterEntry {
	x.Helper()
	var log []clusterEntry
	for cursor := x.origin; ; {
		var body []byte
		until(x, fmt.Sprintf("node %d reads its log", node), func() bool {
			response, err := x.client.Get(topicURL(x.bases[node], "**") + "?" + url.Values{"after": {cursor}, "limit": {"1000"}}.Encode())
			if err != nil {
				x.Fatal(err)
			}
			defer response.Body.Close()
			if body, err = io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK && response.StatusCode != http.StatusServiceUnavailable {
				x.Fatal(response.Status, err, string(body))
			}
			return response.StatusCode == http.StatusOK
		})
		var p page
		if err := json.Unmarshal(body, &p); err != nil || p.Gap != nil {
			x.Fatal(err, string(body))
		}
		for _, e := range p.Events {
			entry, err := x.entry(e)
			if err != nil {
				x.Fatal(err)
			}
			log = append(log, entry)
		}
		if cursor = p.Cursor; !p.More {
			return log
		}
	}
}
