//go:build unix

package jetlog

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/duplexhq/duplex/internal/testnet"
	"github.com/duplexhq/duplex/topic"
)

// A process that is a NATS server, or a node, is told so in these.
const (
	serverVariable = "JETLOG_SERVER"
	nodeVariable   = "JETLOG_NODE"
)

// serverConfig is what a process that is a server needs to know.
type serverConfig struct {
	Name, Dir         string
	Port, ClusterPort int
	Routes            []string // none: it is alone
}

// serve is the process of a server.
func serve(config string) {
	var c serverConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		panic(err)
	}
	opts := &server.Options{
		ServerName: c.Name, Host: "127.0.0.1", Port: c.Port, NoLog: true,
		JetStream: true, StoreDir: c.Dir, DisableJetStreamBanner: true,
	}
	if len(c.Routes) > 0 {
		opts.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: c.ClusterPort}
		for _, r := range c.Routes {
			u, err := url.Parse(r)
			if err != nil {
				panic(err)
			}
			opts.Routes = append(opts.Routes, u)
		}
	}
	s, err := server.NewServer(opts)
	if err != nil {
		panic(err)
	}
	s.Start()
	s.WaitForShutdown()
}

// publishToServer is the process of a node: it publishes numbers with keys, and
// prints what is acknowledged.
func publishToServer(config string) {
	var n NATS
	err := json.Unmarshal([]byte(config), &n)
	var l *Log
	if err == nil {
		l, err = Open(context.Background(), &Options{NATS: &n})
	}
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for w := range killWriters {
		go func() {
			for i := 0; ; {
				drafts, key := killAppend(w, i)
				id, err := l.Append(context.Background(), killTopic(0, w), drafts, key)
				if err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				os.Stdout.WriteString(fmt.Sprintln(w, i, len(drafts), id.Seq)) // in one piece
				i += len(drafts)
			}
		}()
	}
	select {}
}

// again runs this program once more.
func again(t testing.TB, variable string, config any) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), variable+"="+string(text))
	return cmd
}

// A process is killed with the test, or before.
type process struct{ *exec.Cmd }

func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd}
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	if p.ProcessState == nil {
		p.Process.Signal(syscall.SIGKILL)
		p.Wait()
	}
}

// A node is killed while it publishes. Another one has all that it has
// acknowledged, and goes on.
func TestNodeKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for some seconds")
	}
	t.Parallel()
	n := newStream(natsServer(t, t.TempDir(), -1))
	l := openAt(t, &Options{NATS: n})
	defer l.Close()
	view := watch(l)
	cmd := again(t, nodeVariable, n)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, cmd)
	own := 0
	var acked []acknowledgedAppend
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var a acknowledgedAppend
		if strings.HasPrefix(lines.Text(), "error") {
			t.Fatal(lines.Text())
		}
		if _, err := fmt.Sscan(lines.Text(), &a.writer, &a.first, &a.count, &a.seq); err != nil {
			break // the last line, cut
		}
		acked = append(acked, a)
		if len(acked)%10 == 0 {
			appendText1(t, l, "own", strconv.Itoa(own))
			own++
		}
		if len(acked) == 2000 {
			p.Process.Signal(syscall.SIGKILL)
		}
	}
	p.kill()
	appendText1(t, l, "own", strconv.Itoa(own))
	checkAcked(t, l, 0, acked)
	fresh := openAt(t, &Options{NATS: n})
	defer fresh.Close()
	checkAcked(t, fresh, 0, acked)
	if fresh.End() != l.End() || len(view.list()) != int(l.End().Seq) {
		t.Errorf("ends %v and %v, %d entries watched", fresh.End(), l.End(), len(view.list()))
	}
}

// load has nodes publish with keys, and move on to another node when one says
// that it cannot.
type load struct {
	logs    []*Log
	stop    chan struct{}
	wg      sync.WaitGroup
	appends atomic.Int64
	refused atomic.Int64
	pages   atomic.Int64 // that were read
	longest atomic.Int64 // from a first attempt to its acknowledgement; nanoseconds

	mu    sync.Mutex
	acked map[string]uint64 // by data; guarded by mu
}

func startLoad(t *testing.T, logs []*Log, writers int) *load {
	o := &load{logs: logs, stop: make(chan struct{}), acked: make(map[string]uint64)}
	for w := range writers {
		o.wg.Go(func() {
			for i := 0; !isDone(o.stop); i++ {
				data := fmt.Sprintf("%d/%d", w, i)
				drafts := []topic.Draft{{Media: "text/plain", Data: []byte(data)}}
				begun := time.Now()
				for node := w + i; ; node++ {
					id, err := logs[node%len(logs)].Append(context.Background(), fmt.Sprintf("load/%d", w), drafts, topic.NewKey(data, drafts))
					if errors.Is(err, ErrUnavailable) {
						o.refused.Add(1)
						time.Sleep(10 * time.Millisecond)
						continue
					}
					if err != nil {
						t.Errorf("node %d: %v", node%len(logs), err)
						return
					}
					o.mu.Lock()
					o.acked[data] = id.Seq
					o.mu.Unlock()
					break
				}
				o.appends.Add(1)
				for took := int64(time.Since(begun)); ; {
					old := o.longest.Load()
					if took <= old || o.longest.CompareAndSwap(old, took) {
						break
					}
				}
			}
		})
	}
	o.wg.Go(func() { o.roam(t) })
	return o
}

// roam reads everything with one cursor, each page from another node.
func (o *load) roam(t *testing.T) {
	at := topic.Cursor{ID: topic.ID{Epoch: o.logs[0].End().Epoch}}
	for node := 0; !isDone(o.stop); node++ {
		l := o.logs[node%len(o.logs)]
		if known, err := l.Knows(context.Background(), at); errors.Is(err, ErrUnavailable) {
			continue
		} else if !known || err != nil {
			t.Errorf("node %d does not know %v: %v", node%len(o.logs), at, err)
			return
		}
		page, err := l.Read(context.Background(), []topic.Interest{{Patterns: []topic.Pattern{pattern1(t, "**")}, After: at}}, topic.Limit{})
		if errors.Is(err, ErrUnavailable) {
			continue
		}
		if err != nil || len(page.Gaps) > 0 {
			t.Errorf("node %d after %v: %v, gaps %v", node%len(o.logs), at, err, page.Gaps)
			return
		}
		for _, e := range page.Entries {
			if at.Seq++; e.ID.Seq != at.Seq {
				t.Errorf("node %d gives %v, want number %d", node%len(o.logs), e.ID, at.Seq)
				return
			}
		}
		at = page.Cursor
		o.pages.Add(1)
		time.Sleep(time.Millisecond)
	}
}

// more waits until so many further appends were acknowledged.
func (o *load) more(t *testing.T, n int64) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for until := o.appends.Load() + n; o.appends.Load() < until && !t.Failed(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			for i, l := range o.logs {
				t.Logf("node %d: %v", i, l.Ready())
			}
			t.Fatal("nothing is acknowledged any more")
		}
	}
}

// check ends the load: what was acknowledged is there once, with its id and in
// the order of its writer, to all who watched and to a node that comes new.
func (o *load) check(t *testing.T, n *NATS, views []*watched) {
	t.Helper()
	close(o.stop)
	o.wg.Wait()
	fresh := openWhenThere(t, &Options{NATS: n})
	defer fresh.Close()
	for i, l := range o.logs {
		if !isKnown(t, l, topic.Cursor{ID: fresh.End()}) || l.Ready() != nil {
			t.Fatalf("node %d is at %v, the stream at %v, %v", i, l.End(), fresh.End(), l.Ready())
		}
	}
	all := views[0].wait(t, len(o.acked))
	next := make(map[string]int)
	for _, e := range all {
		w, i, _ := strings.Cut(string(e.Data), "/")
		if strconv.Itoa(next[w]) != i {
			t.Fatalf("entry %v of writer %s is %s, want %d", e.ID, w, i, next[w])
		}
		next[w]++
		if seq, ok := o.acked[string(e.Data)]; ok && seq != e.ID.Seq {
			t.Fatalf("%s was acknowledged as %d, and is %v", e.Data, seq, e.ID)
		}
	}
	if len(all) != len(o.acked) {
		t.Errorf("%d entries, %d were acknowledged", len(all), len(o.acked))
	}
	for _, v := range views[1:] {
		for i, e := range v.wait(t, len(all)) {
			if e.ID != all[i].ID || string(e.Data) != string(all[i].Data) {
				t.Fatalf("nodes differ: %v %s, and %v %s", e.ID, e.Data, all[i].ID, all[i].Data)
			}
		}
		if len(v.list()) != len(all) {
			t.Errorf("%d entries, want %d", len(v.list()), len(all))
		}
	}
	entries := 0
	interests := []topic.Interest{{Patterns: []topic.Pattern{pattern1(t, "**")}, After: topic.Cursor{ID: topic.ID{Epoch: fresh.End().Epoch}}}}
	for more := true; more; {
		page, err := fresh.Read(t.Context(), interests, topic.Limit{})
		if err != nil || len(page.Gaps) > 0 {
			t.Fatal(err, page.Gaps)
		}
		for _, e := range page.Entries {
			if e.ID != all[entries].ID || string(e.Data) != string(all[entries].Data) {
				t.Fatalf("a new node has %v %s, want %v %s", e.ID, e.Data, all[entries].ID, all[entries].Data)
			}
			entries++
		}
		interests[0].After, more = page.Cursor, page.More
	}
	if entries != len(all) {
		t.Errorf("a new node has %d entries, want %d", entries, len(all))
	}
	t.Logf("%d events, %d pages, %d refused attempts, longest append %v", len(all), o.pages.Load(), o.refused.Load(), time.Duration(o.longest.Load()))
}

// The server is killed, and comes back: nothing is lost, nothing doubled.
func TestServerKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for some seconds")
	}
	t.Parallel()
	config := serverConfig{Name: "alone", Dir: t.TempDir(), Port: testnet.Ports(t, 1)[0]}
	p := start(t, again(t, serverVariable, config))
	n := &NATS{URL: fmt.Sprintf("nats://127.0.0.1:%d", config.Port), Stream: "events"}
	var logs []*Log
	var views []*watched
	for range 3 {
		l := openWhenThere(t, &Options{NATS: n})
		defer l.Close()
		logs, views = append(logs, l), append(views, watch(l))
	}
	o := startLoad(t, logs, 12)
	for range 3 {
		o.more(t, 500)
		p.kill()
		time.Sleep(200 * time.Millisecond) // there is no server meanwhile
		p = start(t, again(t, serverVariable, config))
	}
	o.more(t, 500)
	o.check(t, n, views)
}

// openWhenThere opens a log on a server that is still starting, or on servers that have to agree who leads.
func openWhenThere(t testing.TB, opts *Options) *Log {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; {
		l, err := Open(context.Background(), opts)
		if err == nil {
			return l
		}
		if !errors.Is(err, ErrUnavailable) || time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// cluster is three servers, and three nodes with a load on them.
type cluster struct {
	configs map[string]serverConfig
	servers map[string]*process
	nats    *NATS
	logs    []*Log
	views   []*watched
	load    *load
}

func startServers(t testing.TB) *cluster {
	t.Helper()
	ports := testnet.Ports(t, 6)
	var routes, urls []string
	for i := range 3 {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[i+3]))
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	c := &cluster{configs: make(map[string]serverConfig), servers: make(map[string]*process)}
	for i := range 3 {
		config := serverConfig{Name: fmt.Sprint("s", i), Dir: t.TempDir(), Port: ports[i], ClusterPort: ports[i+3], Routes: routes}
		c.configs[config.Name] = config
		c.start(t, config.Name)
	}
	c.nats = &NATS{URL: strings.Join(urls, ","), Stream: "events", Replicas: 3}
	return c
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("kills processes for half a minute")
	}
	c := startServers(t)
	for range 3 {
		l := openWhenThere(t, &Options{NATS: c.nats})
		t.Cleanup(func() { l.Close() })
		c.logs, c.views = append(c.logs, l), append(c.views, watch(l))
	}
	c.load = startLoad(t, c.logs, 24)
	return c
}

func (c *cluster) start(t testing.TB, name string) {
	c.servers[name] = start(t, again(t, serverVariable, c.configs[name]))
}

// Of three servers, the one that leads the stream is killed, again and again.
func TestLeaderKilled(t *testing.T) {
	c := startCluster(t)
	for range 3 {
		c.load.more(t, 2000)
		leader := leaderOf(t, c.logs[0])
		c.servers[leader].kill()
		c.load.more(t, 2000)
		c.start(t, leader)
		waitCurrent(t, c.logs[0])
	}
	c.load.more(t, 2000)
	c.load.check(t, c.nats, c.views)
}

// A leader that stands still for a while does not know that it leads no more.
func TestLeaderStopped(t *testing.T) {
	c := startCluster(t)
	c.load.more(t, 2000)
	leader := leaderOf(t, c.logs[0])
	begun := time.Now()
	c.servers[leader].Process.Signal(syscall.SIGSTOP)
	c.load.more(t, 5000)
	t.Logf("5,000 events without %s in %v", leader, time.Since(begun))
	c.servers[leader].Process.Signal(syscall.SIGCONT)
	c.load.more(t, 2000)
	waitCurrent(t, c.logs[0])
	for _, l := range c.logs {
		until(t, "the node is ready", func() bool { return l.Ready() == nil })
	}
	c.load.check(t, c.nats, c.views)
}

func leaderOf(t *testing.T, l *Log) string {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		info, err := l.remote.stream.handle.Info(t.Context())
		if err == nil && info.Cluster != nil && info.Cluster.Leader != "" {
			return info.Cluster.Leader
		}
	}
	t.Fatal("the stream has no leader")
	return ""
}

// waitCurrent waits until all servers have all of the stream: a second one may
// be lost only then.
func waitCurrent(t *testing.T, l *Log) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		info, err := l.remote.stream.handle.Info(t.Context())
		if err != nil || info.Cluster == nil || len(info.Cluster.Replicas) < 2 {
			continue
		}
		current := true
		for _, r := range info.Cluster.Replicas {
			current = current && r.Current && !r.Offline
		}
		if current {
			return
		}
	}
	t.Fatal("the servers do not come together again")
}

// BenchmarkCluster is BenchmarkNodes on three servers that each have a copy.
func BenchmarkCluster(b *testing.B) {
	c := startServers(b)
	openWhenThere(b, &Options{NATS: c.nats}).Close()
	for _, nodes := range []int{1, 3} {
		for _, publishers := range []int{1, 64, 1024} {
			b.Run(fmt.Sprintf("nodes=%d/publishers=%d", nodes, publishers), func(b *testing.B) {
				n := *c.nats
				n.Stream = fmt.Sprintf("bench%d", streamsMade.Add(1))
				benchNodes(b, &n, nodes, publishers)
			})
		}
	}
}
